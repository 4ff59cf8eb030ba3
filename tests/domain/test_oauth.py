"""Scopes, resource indicators and PKCE, with the values that real clients send."""

import pytest

from app.domain.access import PASSTHROUGH_SCOPES, Scope
from app.domain.oauth import (
    OAuthError,
    check_challenge,
    is_our_resource,
    matches_challenge,
    narrowed_scopes,
    requested_scopes,
    s256,
    written_oauth_scopes,
)

PUBLIC = "https://luma.example.com"
READ = frozenset({Scope.READ})


@pytest.mark.parametrize("text", [None, "", " ", "offline_access", "openid profile email", "read generate", "admin"])
def test_requested_scopes_are_all_if_none_or_only_unknown_ones_are_named(text: str | None) -> None:
    assert requested_scopes(text) == PASSTHROUGH_SCOPES


def test_requested_scopes_are_the_known_ones_that_are_named() -> None:
    assert requested_scopes("read offline_access admin") == READ
    assert written_oauth_scopes(PASSTHROUGH_SCOPES) == "read generate"


def test_narrowed_scopes_never_exceed_the_granted_ones() -> None:
    assert narrowed_scopes("read generate", READ) == READ
    assert narrowed_scopes("read", PASSTHROUGH_SCOPES) == READ
    assert narrowed_scopes("", PASSTHROUGH_SCOPES) == PASSTHROUGH_SCOPES
    assert narrowed_scopes("offline_access", READ) == READ


@pytest.mark.parametrize(
    "given",
    [
        PUBLIC,
        f"{PUBLIC}/",
        f"{PUBLIC}/mcp",
        f"{PUBLIC}/mcp/",
        f"{PUBLIC}/mcp/readonly",
        f"{PUBLIC}/mcp/readonly/?tenant=1",
        f"{PUBLIC}/mcp?tenant=1",
        f"{PUBLIC}/mcp#x",
        "HTTPS://LUMA.example.com/mcp",
        "https://luma.example.com:443/mcp",
    ],
)
def test_is_our_resource_accepts_every_spelling_of_clients(given: str) -> None:
    assert is_our_resource(given, PUBLIC)


@pytest.mark.parametrize(
    "given",
    [
        "https://evil.example/mcp",
        "http://luma.example.com/mcp",
        f"{PUBLIC}/other",
        f"{PUBLIC}:8443/mcp",
        f"{PUBLIC}@evil.example/mcp",
        "https://user@luma.example.com/mcp",
        "https://[",
        "",
    ],
)
def test_is_our_resource_refuses_other_urls(given: str) -> None:
    assert not is_our_resource(given, PUBLIC)


def test_is_our_resource_compares_the_path_of_the_public_url() -> None:
    assert is_our_resource(f"{PUBLIC}/luma/mcp", f"{PUBLIC}/luma")
    assert not is_our_resource(f"{PUBLIC}/other/mcp", f"{PUBLIC}/luma")


def test_a_verifier_matches_only_its_own_challenge() -> None:
    # RFC 7636, appendix B
    verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert s256(verifier) == challenge
    assert matches_challenge(verifier, challenge)
    assert not matches_challenge(verifier[:-1] + "X", challenge)
    assert not matches_challenge(None, challenge)
    assert not matches_challenge(challenge, challenge)
    assert not matches_challenge("short", s256("short"))


@pytest.mark.parametrize(
    ("challenge", "method"),
    [(None, "S256"), ("a" * 43, None), ("a" * 43, "plain"), ("a" * 42, "S256"), ("a" * 44, "S256"), ("ä" * 43, "S256")],
)
def test_check_challenge_raises_unless_the_challenge_is_s256(challenge: str | None, method: str | None) -> None:
    with pytest.raises(OAuthError) as caught:
        check_challenge(challenge, method)
    assert caught.value.code == "invalid_request"
