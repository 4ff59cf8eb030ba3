"""Scopes, resource indicators and PKCE, as the clients in the field send them."""

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
def test_unknown_scopes_are_dropped_and_none_means_all(text: str | None) -> None:
    assert requested_scopes(text) == PASSTHROUGH_SCOPES


def test_scopes_that_are_named_are_those_that_are_asked_for() -> None:
    assert requested_scopes("read offline_access admin") == READ
    assert written_oauth_scopes(PASSTHROUGH_SCOPES) == "read generate"


def test_a_refresh_never_widens_what_was_granted() -> None:
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
        f"{PUBLIC}/mcp?tenant=1",
        f"{PUBLIC}/mcp#x",
        "HTTPS://LUMA.example.com/mcp",
        "https://luma.example.com:443/mcp",
    ],
)
def test_our_resource_is_known_in_every_spelling_of_clients(given: str) -> None:
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
def test_another_resource_is_refused(given: str) -> None:
    assert not is_our_resource(given, PUBLIC)


def test_a_resource_below_a_path_is_that_of_the_path() -> None:
    assert is_our_resource(f"{PUBLIC}/luma/mcp", f"{PUBLIC}/luma")
    assert not is_our_resource(f"{PUBLIC}/other/mcp", f"{PUBLIC}/luma")


def test_a_verifier_proves_its_own_challenge_alone() -> None:
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
def test_a_request_without_s256_is_refused(challenge: str | None, method: str | None) -> None:
    with pytest.raises(OAuthError) as caught:
        check_challenge(challenge, method)
    assert caught.value.code == "invalid_request"
