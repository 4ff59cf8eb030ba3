"""Bearer tokens are read as RFC 6750 writes them, and as nothing else."""

import pytest

from app.adapters.auth.bearer_token import LONGEST_HEADER, bearer_token


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer token-a", "token-a"),
        ("bearer token-a", "token-a"),
        ("BEARER   token-a  ", "token-a"),
        ("Bearer aZ09-._~+/==", "aZ09-._~+/=="),
        ("Bearer " + "x" * (LONGEST_HEADER - 7), "x" * (LONGEST_HEADER - 7)),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer \t", None),
        ("Bearertoken-a", None),
        ("token-a", None),
        ("Basic dXNlcjpwYXNz", None),
        ("Digest token-a", None),
        ("Bearer token a", None),
        ("Bearer token,a", None),
        ("Bearer to=ken", None),
        ("Bearer =", None),
        ("Bearer token-a\n", None),
        ("Bearer token-a\r\nX-Other: 1", None),
        ("Bearer t\u00f6ken", None),
        ("Bearer \u0661\u0662", None),
        ("Bearer token-a, Bearer token-b", None),
        ('Bearer "token-a"', None),
        ("Bearer " + "x" * LONGEST_HEADER, None),
    ],
)
def test_a_bearer_token_is_read_as_its_standard_writes_it(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token
