"""Passthrough authentication: equal tokens are one tenant, whose subject does not reveal the token."""

from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.domain.access import PASSTHROUGH_SCOPES

KEY = "a key for tests that is long enough: 48 bytes or so"


def test_one_token_is_one_tenant_in_every_process_with_the_key() -> None:
    assert PassthroughAuthenticator(KEY).hash_token("token-a") == PassthroughAuthenticator(KEY).hash_token("token-a")


def test_different_tokens_keys_and_keyless_processes_are_different_tenants() -> None:
    tenants = [
        PassthroughAuthenticator(KEY).hash_token("token-a"),
        PassthroughAuthenticator(KEY).hash_token("token-b"),
        PassthroughAuthenticator(KEY).hash_token("token-a "),
        PassthroughAuthenticator(KEY + "!").hash_token("token-a"),
        PassthroughAuthenticator().hash_token("token-a"),
        PassthroughAuthenticator().hash_token("token-a"),
    ]
    assert len(set(tenants)) == len(tenants)


def test_a_process_without_secret_keys_is_consistent() -> None:
    tenants = PassthroughAuthenticator()
    assert tenants.hash_token("token-a") == tenants.hash_token("token-a")


def test_a_subject_is_128_bits_in_hexadecimal_digits() -> None:
    tenant = PassthroughAuthenticator(KEY).hash_token("a token with } and : and\n")
    assert len(bytes.fromhex(tenant)) == 16


async def test_the_credential_is_the_callers_own_token_and_not_in_its_repr() -> None:
    caller = await PassthroughAuthenticator(KEY).authenticate("token-a")
    credential = await caller.credentials.one()
    assert credential.secret == "token-a"
    assert "token-a" not in f"{caller!r} {credential!r}"
    assert caller.principal.subject == credential.id


async def test_a_caller_without_a_team_owns_its_tasks_and_has_all_scopes() -> None:
    principal = (await PassthroughAuthenticator(KEY).authenticate("token-a")).principal
    assert principal.owner == principal.subject == PassthroughAuthenticator(KEY).hash_token("token-a")
    assert principal.scopes == PASSTHROUGH_SCOPES


async def test_a_caller_has_the_subjects_of_former_secret_keys() -> None:
    old, new = KEY, KEY[::-1]
    assert (await PassthroughAuthenticator(new, old).authenticate("token-a")).principal.owners == (
        PassthroughAuthenticator(new).hash_token("token-a"),
        PassthroughAuthenticator(old).hash_token("token-a"),
    )
