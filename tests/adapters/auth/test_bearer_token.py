"""Bearer tokens are read in the form of RFC 6750 only."""

import pytest

from app.adapters.auth.bearer_token import MAX_HEADER_LENGTH, bearer_token


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer token-a", "token-a"),
        ("bearer token-a", "token-a"),
        ("BEARER   token-a  ", "token-a"),
        ("Bearer aZ09-._~+/==", "aZ09-._~+/=="),
        ("Bearer " + "x" * (MAX_HEADER_LENGTH - 7), "x" * (MAX_HEADER_LENGTH - 7)),
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
        ("Bearer " + "x" * MAX_HEADER_LENGTH, None),
    ],
)
def test_bearer_token_follows_rfc_6750(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token
