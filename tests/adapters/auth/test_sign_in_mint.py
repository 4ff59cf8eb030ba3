"""The tokens of sign-in, and their derivation from each other and from the pepper."""

import secrets

from app.adapters.auth.sign_in_mint import SignInMint
from app.domain.access import PASSTHROUGH_SCOPES, Scope
from app.domain.sign_in_tokens import ACCESS, CODE, REFRESH, is_of_sign_in

MINT, OTHER = SignInMint(b"a pepper for tests"), SignInMint(b"another pepper")
GRANT = "0123456789abcdef" * 2


def test_each_kind_of_token_has_its_own_form() -> None:
    refresh = MINT.first_refresh(GRANT)
    assert CODE.is_well_formed(MINT.code())
    assert REFRESH.is_well_formed(refresh)
    assert ACCESS.is_well_formed(MINT.access(refresh, PASSTHROUGH_SCOPES))
    assert all(is_of_sign_in(token) for token in (MINT.code(), refresh, MINT.access(refresh, PASSTHROUGH_SCOPES)))
    assert not is_of_sign_in("lmk_x")


def test_two_grants_of_one_id_have_different_tokens() -> None:
    assert MINT.first_refresh(GRANT) != MINT.first_refresh(GRANT)
    assert MINT.code() != MINT.code()


def test_a_successor_is_always_the_same_and_needs_the_pepper() -> None:
    refresh = MINT.first_refresh(GRANT)
    following = MINT.successor(refresh)
    assert following == MINT.successor(refresh) != refresh
    assert MINT.grant_of(following) == GRANT
    assert MINT.access(refresh, PASSTHROUGH_SCOPES) != MINT.access(following, PASSTHROUGH_SCOPES)
    assert MINT.access(refresh, PASSTHROUGH_SCOPES) != MINT.access(refresh, frozenset({Scope.READ}))


def test_grant_of_accepts_only_tokens_of_this_service() -> None:
    refresh = MINT.first_refresh(GRANT)
    assert MINT.grant_of(refresh) == GRANT
    invented = REFRESH.encode(bytes.fromhex(GRANT) + secrets.token_bytes(32))
    for text in (invented, OTHER.first_refresh(GRANT), refresh[:-1], "", "lrt_", MINT.code(), "é" * 71):
        assert MINT.grant_of(text) is None


def test_is_access_accepts_only_tokens_of_this_service() -> None:
    refresh = MINT.first_refresh(GRANT)
    access = MINT.access(refresh, PASSTHROUGH_SCOPES)
    assert MINT.is_access(access)
    content = ACCESS.decode(access)
    assert content is not None
    changed = [ACCESS.encode(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]) for at in range(ACCESS.size)]
    invented = ACCESS.encode(secrets.token_bytes(ACCESS.size))
    for text in (*changed, invented, OTHER.access(refresh, PASSTHROUGH_SCOPES), access[:-1], "", "lat_", refresh):
        assert not MINT.is_access(text)


def test_a_person_has_one_id_for_issuer_and_subject() -> None:
    assert MINT.person_id("https://a.example", "1") == MINT.person_id("https://a.example", "1")
    assert len({MINT.person_id("https://a.example", "1"), MINT.person_id("https://b.example", "1")}) == 2
    assert len(MINT.person_id("https://a.example", "1")) == 32
