"""Sign-in in every kind of database: each step is accepted once, and expires."""

import asyncio
import secrets
from dataclasses import replace

import pytest

from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.sql.sign_in import sql_sign_in
from app.adapters.sql.sign_in_steps import SqlSignInSteps
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.redirects import check_redirect, shown_host
from app.domain.sign_in import MAX_GRANTS, ClientAuth, Grant, OAuthClient, Person, Registration, RevokeReason
from app.ports.sign_in_store import AuthorizationCode, NewAccess, NewGrant, PendingLogin, SignInStore, TokenLifetimes
from tests.support.clock import HandClock

DAY = 86_400.0
LIFETIMES = TokenLifetimes(access=3600.0, refresh=30 * DAY, grant=180 * DAY, grace=60.0)
CLIENT = OAuthClient("client-1", "Claude", ("https://claude.ai/cb",), Registration.DYNAMIC)
PERSON = Person("a" * 32, "https://login.example", "user-1", "sealed")


@pytest.fixture
def store(database: Database, clock: HandClock) -> SignInStore:
    return sql_sign_in(database, clock.sql)


def new_access() -> NewAccess:
    return NewAccess(secrets.token_hex(32), PASSTHROUGH_SCOPES, LIFETIMES.access)


def new_code(client_id: str = CLIENT.id) -> AuthorizationCode:
    digest = secrets.token_hex(32)
    return AuthorizationCode(digest, client_id, "https://claude.ai/cb", "c" * 43, PASSTHROUGH_SCOPES, PERSON.id)


def new_grant() -> NewGrant:
    return NewGrant(secrets.token_hex(16), secrets.token_hex(32), CLIENT, "claude.ai")


async def create_grant(store: SignInStore, access: NewAccess | None = None) -> Grant:
    await store.people.keep(PERSON)
    code = new_code()
    await store.steps.add_code(code, 60.0)
    grant = await store.grants.redeem(code, new_grant(), access or new_access(), LIFETIMES)
    assert grant is not None
    return grant


async def test_a_registration_is_found_by_its_fingerprint(store: SignInStore) -> None:
    assert await store.clients.register(CLIENT, "print") == CLIENT
    assert await store.clients.register(replace(CLIENT, id="client-2"), "print") == CLIENT
    other = await store.clients.register(replace(CLIENT, id="client-3", auth=ClientAuth.SECRET), None)
    assert await store.clients.client("client-3") == other
    assert await store.clients.client("client-2") is None


async def test_a_document_replaces_what_it_said_before_and_no_registered_client(
    store: SignInStore, clock: HandClock
) -> None:
    document = OAuthClient("https://c.example/d", "C", ("http://localhost/cb",), Registration.DOCUMENT)
    await store.clients.keep_document(document, 300.0)
    await store.clients.keep_document(replace(document, name="D"), 600.0)
    assert await store.clients.client(document.id) == replace(document, name="D", fresh_until=clock() + 600.0)
    manual = replace(document, id="manual", registration=Registration.MANUAL)
    await store.clients.register(manual, None)
    await store.clients.keep_document(replace(document, id="manual", name="Evil"), 600.0)
    assert await store.clients.client("manual") == manual


async def test_a_document_is_kept_longer_or_deleted_only_as_it_was_read(store: SignInStore, clock: HandClock) -> None:
    document = OAuthClient("https://c.example/d", "C", ("http://localhost/cb",), Registration.DOCUMENT)
    await store.clients.keep_document(document, 300.0)
    old = await store.clients.client(document.id)
    assert old is not None
    clock.advance(301)
    await store.clients.extend_document(old, 60.0)
    extended = await store.clients.client(document.id)
    assert extended == replace(document, fresh_until=clock() + 60.0)
    for change in (store.clients.extend_document(old, 900.0), store.clients.delete_document(old)):
        await change
        assert await store.clients.client(document.id) == extended
    await store.clients.delete_document(extended)
    assert await store.clients.client(document.id) is None
    await store.clients.register(CLIENT, None)
    await store.clients.delete_document(CLIENT)
    assert await store.clients.client(CLIENT.id) == CLIENT


async def test_a_grant_has_the_longest_host_that_may_be_registered(store: SignInStore) -> None:
    host = shown_host(check_redirect(f"https://{'a' * 253}/"))
    await store.people.keep(PERSON)
    code = new_code()
    await store.steps.add_code(code, 60.0)
    grant = await store.grants.redeem(code, replace(new_grant(), redirect_host=host), new_access(), LIFETIMES)
    assert grant is not None
    assert grant.redirect_host == host


async def test_idle_clients_are_deleted_and_those_of_an_operator_stay(store: SignInStore, clock: HandClock) -> None:
    for number, registration in enumerate((Registration.DYNAMIC, Registration.DYNAMIC, Registration.MANUAL)):
        await store.clients.register(replace(CLIENT, id=f"client-{number}", registration=registration), None)
    await store.clients.note_used("client-1")
    clock.advance(2 * DAY)
    assert await store.clients.delete_idle(DAY, 90 * DAY) == 1
    clock.advance(91 * DAY)
    assert await store.clients.delete_idle(DAY, 90 * DAY) == 1
    assert [await store.clients.client(f"client-{number}") is not None for number in range(3)] == [False, False, True]


async def test_an_assertion_is_accepted_once(store: SignInStore, clock: HandClock) -> None:
    assert await store.clients.use_assertion("jti", 60.0)
    assert not await store.clients.use_assertion("jti", 60.0)
    clock.advance(61)
    await store.clients.delete_idle(DAY, DAY)
    assert await store.clients.use_assertion("jti", 60.0)


async def test_a_pending_sign_in_is_taken_once_and_by_its_own_browser(store: SignInStore, clock: HandClock) -> None:
    pending = PendingLogin("state", "browser", "content")
    await store.steps.add_pending(pending, 600.0)
    assert await store.steps.take_pending("state", "another") is None
    assert await store.steps.take_pending("state", "browser") == pending
    assert await store.steps.take_pending("state", "browser") is None
    await store.steps.add_pending(pending, 600.0)
    clock.advance(601)
    assert await store.steps.take_pending("state", "browser") is None


async def test_the_oldest_sign_ins_make_room_for_new_ones(database: Database, clock: HandClock) -> None:
    steps = SqlSignInSteps(database, clock.sql, max_pending=3)
    for number in range(5):
        clock.advance(1)
        await steps.add_pending(PendingLogin(f"state-{number}", "browser", "content"), 600.0)
    taken = [await steps.take_pending(f"state-{number}", "browser") for number in range(5)]
    assert [one is not None for one in taken] == [False, False, True, True, True]


async def test_one_of_many_concurrent_exchanges_of_a_code_gets_a_grant(store: SignInStore) -> None:
    await store.people.keep(PERSON)
    code = new_code()
    await store.steps.add_code(code, 60.0)
    tries = [store.grants.redeem(code, new_grant(), new_access(), LIFETIMES) for _ in range(8)]
    grants = [grant for grant in await asyncio.gather(*tries) if grant is not None]
    assert len(grants) == 1
    used = await store.steps.code(code.digest)
    assert used is not None
    assert used.grant_id == grants[0].id
    assert await store.grants.of_person(PERSON.id) == grants


async def test_an_exchange_that_is_repeated_has_the_same_outcome(store: SignInStore) -> None:
    await store.people.keep(PERSON)
    code, new, access = new_code(), new_grant(), new_access()
    await store.steps.add_code(code, 60.0)
    assert await store.grants.redeem(code, new, access, LIFETIMES) == await store.grants.redeem(
        code, new, access, LIFETIMES
    )


async def test_a_code_expires(store: SignInStore, clock: HandClock) -> None:
    await store.people.keep(PERSON)
    code = new_code()
    await store.steps.add_code(code, 60.0)
    assert await store.steps.code(code.digest) == code
    clock.advance(60)
    assert await store.steps.code(code.digest) == replace(code, is_expired=True)
    assert await store.steps.code("other") is None


async def test_one_of_many_concurrent_refreshes_rotates(store: SignInStore, clock: HandClock) -> None:
    grant = await create_grant(store)
    clock.advance(100)
    access = new_access()
    tries = [store.grants.rotate(grant, "next", access, LIFETIMES) for _ in range(20)]
    assert sorted(await asyncio.gather(*tries)) == [False] * 19 + [True]
    found = await store.grants.grant(grant.id)
    assert found is not None
    rotated, read_at = found
    assert read_at == clock()
    assert rotated == replace(
        grant,
        generation=1,
        current="next",
        previous=grant.current,
        rotated_at=clock(),
        refresh_until=clock() + LIFETIMES.refresh,
    )
    clock.advance(3000)
    assert await store.grants.renew_access(rotated, access)
    assert not await store.grants.renew_access(grant, access)
    holder = (await store.grants.access([access.digest]))[access.digest]
    assert (holder.expires_at, holder.generation) == (clock() + 3600.0, 1)


async def test_an_access_token_is_found_with_its_person_until_it_expires(store: SignInStore, clock: HandClock) -> None:
    access = new_access()
    grant = await create_grant(store, access)
    holder = (await store.grants.access([access.digest]))[access.digest]
    assert holder.grant == grant
    assert (holder.person.id, holder.person.sealed) == (PERSON.id, PERSON.sealed)
    assert (holder.scopes, holder.read_at) == (PASSTHROUGH_SCOPES, clock())
    clock.advance(3600)
    assert await store.grants.access([access.digest]) == {}


async def test_the_first_use_of_a_generation_is_recorded_once(store: SignInStore, clock: HandClock) -> None:
    grant = await create_grant(store)
    await store.grants.confirm([(grant.id, 7)])
    await store.grants.confirm([(grant.id, 0), ("unknown", 0)])
    first = clock()
    clock.advance(100)
    await store.grants.confirm([(grant.id, 0)])
    await store.grants.note_used([grant.id], first)
    await store.grants.note_used([grant.id], first - 60)
    found = await store.grants.grant(grant.id)
    assert found is not None
    assert (found[0].confirmed_at, found[0].last_used_at) == (first, first)


async def test_a_revocation_ends_one_grant_and_is_audited(
    store: SignInStore, database: Database, clock: HandClock
) -> None:
    access = new_access()
    grant, other = await create_grant(store, access), await create_grant(store)
    version = await store.grants.version()
    assert await store.grants.revoke(grant.id, RevokeReason.PERSON, person_id="b" * 32) is None
    assert await store.grants.version() == version
    ended = await store.grants.revoke(grant.id, RevokeReason.PERSON, person_id=PERSON.id)
    assert ended == replace(grant, revoked_at=clock(), reason="person")
    assert (changed := await store.grants.version()) > version
    assert await store.grants.revoke(grant.id, RevokeReason.CLIENT) is None
    assert await store.grants.version() == changed
    assert await store.grants.access([access.digest]) == {}
    assert await store.grants.of_person(PERSON.id) == [other]
    assert not await store.grants.rotate(grant, "next", new_access(), LIFETIMES)
    entries = await sql_directory(database, clock.sql).audit.entries(100)
    assert [entry.action for entry in entries if entry.subject == grant.id] == ["grant.create", "grant.revoke"]
    assert await store.grants.revoke_all(PERSON.id, RevokeReason.LOGIN) == 1
    changed = await store.grants.version()
    assert await store.grants.revoke_all(PERSON.id, RevokeReason.LOGIN) == 0
    assert await store.grants.version() == changed
    assert await store.grants.of_person(PERSON.id) == []


async def test_the_grants_of_one_person_are_bounded(store: SignInStore, clock: HandClock) -> None:
    first = await create_grant(store)
    for _ in range(MAX_GRANTS):
        clock.advance(1)
        await create_grant(store)
    assert len(await store.grants.of_person(PERSON.id)) == MAX_GRANTS
    found = await store.grants.grant(first.id)
    assert found is not None
    assert found[0].reason == RevokeReason.LIMIT
    taken = await asyncio.gather(*(store.grants.take_uncounted() for _ in range(4)))
    assert sorted(map(len, taken)) == [0, 0, 0, 1], "each end is counted once, whoever asks"
    assert max(taken) == [RevokeReason.LIMIT]


async def test_a_new_sign_in_replaces_the_secrets_and_increments_the_version(store: SignInStore) -> None:
    await store.people.keep(PERSON)
    version = await store.grants.version()
    await store.people.keep(replace(PERSON, sealed="anew"))
    assert await store.grants.version() > version
    assert [person.sealed for person in await store.people.all_sealed(10, "")] == ["anew"]
    assert not await store.people.replace_sealed(PERSON, "late")
    assert await store.people.replace_sealed(replace(PERSON, sealed="anew"), "later")


async def test_a_browser_is_signed_in_until_it_is_signed_out(store: SignInStore, clock: HandClock) -> None:
    await store.people.keep(PERSON)
    for digest in ("one", "other"):
        await store.people.add_session(digest, PERSON.id, 600.0)
    await store.people.end_session("one")
    assert await store.people.in_session("one") is None
    person = await store.people.in_session("other")
    assert person is not None
    assert person.id == PERSON.id
    clock.advance(600)
    assert await store.people.in_session("other") is None


async def test_expired_rows_are_deleted_in_batches(store: SignInStore, clock: HandClock) -> None:
    grant = await create_grant(store)
    await store.people.add_session("session", PERSON.id, 600.0)
    await store.steps.add_pending(PendingLogin("state", "browser", "content"), 600.0)
    clock.advance(3601)
    assert await store.grants.delete_old(30 * DAY) == 4, "the code, the session, the sign-in and the access token"
    assert await store.grants.grant(grant.id) is not None
    clock.advance(61 * DAY)
    assert await store.grants.delete_old(30 * DAY) == 1
    assert await store.grants.grant(grant.id) is None
