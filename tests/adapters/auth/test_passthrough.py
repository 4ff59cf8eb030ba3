"""Tokens become tenants: equal for equal tokens, nameless for whoever reads the cache or the log."""

import pytest

from app.adapters.auth.passthrough import LONGEST_TOKEN, PassthroughAuthenticator, bearer_token

KEY = "a key for tests that is long enough: 48 bytes or so"


def test_one_token_is_one_tenant_in_every_process_with_the_key() -> None:
    assert PassthroughAuthenticator(KEY).principal("token-a") == PassthroughAuthenticator(KEY).principal("token-a")


def test_different_tokens_keys_and_keyless_processes_are_different_tenants() -> None:
    tenants = [
        PassthroughAuthenticator(KEY).principal("token-a").tenant,
        PassthroughAuthenticator(KEY).principal("token-b").tenant,
        PassthroughAuthenticator(KEY).principal("token-a ").tenant,
        PassthroughAuthenticator(KEY + "!").principal("token-a").tenant,
        PassthroughAuthenticator().principal("token-a").tenant,
        PassthroughAuthenticator().principal("token-a").tenant,
    ]
    assert len(set(tenants)) == len(tenants)


def test_a_keyless_process_agrees_with_itself() -> None:
    tenants = PassthroughAuthenticator()
    assert tenants.principal("token-a") == tenants.principal("token-a")


def test_a_tenant_is_128_bits_in_letters_that_are_safe_in_keys() -> None:
    tenant = PassthroughAuthenticator(KEY).principal("a token with } and : and\n").tenant
    assert len(bytes.fromhex(tenant)) == 16


def test_a_principal_shows_its_tenant_and_never_its_token() -> None:
    principal = PassthroughAuthenticator(KEY).principal("token-a")
    assert principal.credential == "token-a"
    assert "token-a" not in repr(principal)
    assert principal.tenant in repr(principal)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer token-a", "token-a"),
        ("bearer token-a", "token-a"),
        ("BEARER   token-a  ", "token-a"),
        ("Bearer aZ09-._~+/==", "aZ09-._~+/=="),
        ("Bearer " + "x" * (LONGEST_TOKEN - 7), "x" * (LONGEST_TOKEN - 7)),
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
        ("Bearer " + "x" * LONGEST_TOKEN, None),
    ],
)
def test_a_bearer_token_is_read_as_its_standard_writes_it(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


def test_a_caller_keeps_the_names_of_older_keys() -> None:
    old, new = KEY, KEY[::-1]
    assert PassthroughAuthenticator(new, old).principal("token-a").owners == (
        PassthroughAuthenticator(new).principal("token-a").tenant,
        PassthroughAuthenticator(old).principal("token-a").tenant,
    )
