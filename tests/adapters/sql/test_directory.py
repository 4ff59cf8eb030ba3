"""The directory of teams in every kind of database: changes, their audit log entries, and the version."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from app.adapters.sql.engine import Database
from app.domain.access import Scope
from app.domain.teams import AuditEntry, KeyHolder, KeyState
from app.ports.directory import AlreadyThere, Directory, NotAllowed, NotThere
from tests.support.clock import HandClock
from tests.support.databases import empty_database, opened
from tests.support.directories import ACTOR, directory_at, new_key
from tests.support.postgres_server import PostgresServer

READ = frozenset({Scope.READ})
DAY = 86_400.0


@pytest.fixture
def directory(database: Database, clock: HandClock) -> Directory:
    return directory_at(database, clock)


async def create_key(directory: Directory, expires: float | None = None, member: str = "anna") -> KeyHolder:
    """Create a key, with its team and member if they do not exist."""
    if not await directory.teams.all():
        await directory.teams.create("film", "Europe/Berlin", ACTOR)
    if member not in [one.name for one in await directory.teams.members("film")]:
        await directory.teams.add_member("film", member, ACTOR)
    _, new = new_key()
    return await directory.keys.create("film", member, new, ACTOR, scopes=READ, expires_seconds=expires, note="laptop")


async def last_entry(directory: Directory) -> AuditEntry:
    return (await directory.audit.entries(1000))[-1]


async def test_a_team_is_created_with_safe_defaults(directory: Directory, clock: HandClock) -> None:
    team = await directory.teams.create("film", "Europe/Berlin", ACTOR)
    assert (team.is_stopped, team.allows_foreign_ids, team.members_see_all) == (False, False, True)
    assert team.created_at == clock()
    assert await directory.teams.team("film") == team
    assert await directory.teams.all() == [team]
    assert len(team.id) == 32


async def test_keys_are_listed_in_pages(directory: Directory, clock: HandClock) -> None:
    made_keys = []
    for number in range(5):
        made_keys.append((await create_key(directory, member="ben" if number % 2 else "anna")).key)
        clock.advance(number % 2)  # two of them are equally old
    wanted = [key.id for key in sorted(made_keys, key=lambda key: (key.created_at, key.id))]
    pages, after = [], None
    while page := await directory.keys.of_team("film", limit=2, after=after):
        pages.append([holder.key.id for holder in page])
        after = pages[-1][-1]
    assert pages == [wanted[:2], wanted[2:4], wanted[4:]]
    await directory.teams.create("ads", "UTC", ACTOR)
    with pytest.raises(NotThere, match="Begin the list anew"):
        await directory.keys.of_team("ads", after=wanted[0])


async def test_team_names_are_unique_and_member_names_within_a_team(directory: Directory) -> None:
    await directory.teams.create("film", "UTC", ACTOR)
    await directory.teams.create("music", "UTC", ACTOR)
    await directory.teams.add_member("film", "anna", ACTOR)
    await directory.teams.add_member("music", "anna", ACTOR)
    with pytest.raises(AlreadyThere, match="a team film"):
        await directory.teams.create("film", "UTC", ACTOR)
    with pytest.raises(AlreadyThere, match="a member anna"):
        await directory.teams.add_member("film", "anna", ACTOR)


async def test_a_refused_change_leaves_no_entry_and_no_version(directory: Directory) -> None:
    await create_key(directory)
    before = await directory.facts.version(), len(await directory.audit.entries(1000))
    for refused in (
        directory.teams.create("film", "UTC", ACTOR),
        directory.teams.stop("other", ACTOR),
        directory.teams.add_member("other", "anna", ACTOR),
        directory.teams.stop_member("film", "ben", ACTOR),
        directory.keys.revoke("000000000000", ACTOR),
        directory.keys.rotate("000000000000", new_key()[1], 0, ACTOR),
        directory.credentials.remove("film", "000000000000", ACTOR),
    ):
        with pytest.raises((NotThere, AlreadyThere)):
            await refused
    assert (await directory.facts.version(), len(await directory.audit.entries(1000))) == before


async def test_every_change_has_one_entry_and_one_version(directory: Directory, clock: HandClock) -> None:
    key = (await create_key(directory)).key.id
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "team.stop": lambda: directory.teams.stop("film", ACTOR),
        "team.resume": lambda: directory.teams.stop("film", ACTOR, is_stopped=False),
        "team.change": lambda: directory.teams.change("film", ACTOR, timezone="UTC", members_see_all=False),
        "member.stop": lambda: directory.teams.stop_member("film", "anna", ACTOR),
        "member.resume": lambda: directory.teams.stop_member("film", "anna", ACTOR, is_stopped=False),
        "key.block": lambda: directory.keys.block(key, ACTOR),
        "key.unblock": lambda: directory.keys.block(key, ACTOR, is_blocked=False),
        "key.stop": lambda: directory.keys.stop(key, ACTOR),
        "key.resume": lambda: directory.keys.stop(key, ACTOR, is_stopped=False),
        "key.rotate": lambda: directory.keys.rotate(key, new_key()[1], 60, ACTOR),
        "key.revoke": lambda: directory.keys.revoke(key, ACTOR),
    }
    assert [entry.action for entry in await directory.audit.entries(10)] == ["team.create", "member.add", "key.create"]
    assert await directory.facts.version() == 3
    for number, (action, change) in enumerate(changes.items(), 4):
        await change()
        entry = await last_entry(directory)
        assert (entry.action, entry.id, entry.at, entry.outcome) == (action, number, clock(), "done")
        assert (entry.actor, entry.request_id) == (ACTOR.name, ACTOR.request_id)
        assert entry.team_id == (await directory.teams.team("film")).id
        assert entry.before is not None
        assert entry.after is not None
        assert set(entry.before) == set(entry.after)
        assert await directory.facts.version() == number


async def test_the_entry_of_a_change_has_the_values_before_and_after(directory: Directory) -> None:
    holder = await create_key(directory)
    await directory.teams.stop_member("film", "anna", ACTOR)
    entry = await last_entry(directory)
    assert (entry.before, entry.after) == ({"is_stopped": False}, {"is_stopped": True})
    assert (entry.subject, entry.team_id, entry.member_id) == ("film/anna", holder.team.id, holder.member.id)


async def test_a_key_is_found_by_its_digest_with_member_and_team(directory: Directory, clock: HandClock) -> None:
    await create_key(directory)
    _, new = new_key()
    made_now = await directory.keys.create("film", "anna", new, ACTOR, scopes=READ, expires_seconds=DAY, note="ci")
    found = await directory.keys.key_holder(new.digest)
    assert found == made_now
    assert (found.member.name, found.team.name, found.read_at) == ("anna", "film", clock())
    assert (found.key.scopes, found.key.note, found.key.expires_at) == (READ, "ci", clock() + DAY)
    assert await directory.keys.key_holder("0" * 64) is None
    assert await directory.keys.holder(new.id) == found


async def test_keys_are_listed_by_team_oldest_first(directory: Directory, clock: HandClock) -> None:
    first = await create_key(directory)
    clock.advance(1)
    second = await create_key(directory, member="ben")
    await directory.teams.create("music", "UTC", ACTOR)
    assert [holder.key.id for holder in await directory.keys.of_team("film")] == [first.key.id, second.key.id]
    assert await directory.keys.of_team("music") == []
    with pytest.raises(NotThere):
        await directory.keys.of_team("other")


async def test_a_key_is_blocked_unblocked_and_revoked_forever(directory: Directory, clock: HandClock) -> None:
    key = (await create_key(directory)).key.id
    blocked = await directory.keys.block(key, ACTOR)
    unblocked = await directory.keys.block(key, ACTOR, is_blocked=False)
    revoked = await directory.keys.revoke(key, ACTOR)
    states = [holder.key.state(clock()) for holder in (blocked, unblocked, revoked)]
    assert states == [KeyState.BLOCKED, KeyState.ACTIVE, KeyState.REVOKED]
    clock.advance(60)
    assert (await directory.keys.revoke(key, ACTOR)).key.revoked_at == revoked.key.revoked_at
    for is_blocked in (True, False):
        with pytest.raises(NotAllowed, match="for good"):
            await directory.keys.block(key, ACTOR, is_blocked=is_blocked)


async def test_a_stop_of_team_member_or_key_stops_the_holder(directory: Directory) -> None:
    key = (await create_key(directory)).key.id

    changes: list[Callable[[bool], Awaitable[object]]] = [
        lambda stopped: directory.teams.stop("film", ACTOR, is_stopped=stopped),
        lambda stopped: directory.teams.stop_member("film", "anna", ACTOR, is_stopped=stopped),
        lambda stopped: directory.keys.stop(key, ACTOR, is_stopped=stopped),
    ]
    for change in changes:
        for stopped in (True, False):
            await change(stopped)
            assert (await directory.keys.holder(key)).is_stopped is stopped


async def test_both_keys_of_a_rotation_work_during_the_grace_period(directory: Directory, clock: HandClock) -> None:
    old = (await create_key(directory, expires=30 * DAY)).key
    clock.advance(10 * DAY)
    new = (await directory.keys.rotate(old.id, new_key()[1], DAY, ACTOR)).key
    assert (new.member_id, new.scopes, new.note) == (old.member_id, old.scopes, old.note)
    assert new.expires_at == clock() + 30 * DAY
    old = (await directory.keys.holder(old.id)).key
    assert (old.expires_at, old.replaced_by) == (clock() + DAY, new.id)
    assert (old.state(clock() + DAY - 1), new.state(clock() + DAY - 1)) == (KeyState.ACTIVE, KeyState.ACTIVE)
    assert (old.state(clock() + DAY), new.state(clock() + DAY)) == (KeyState.EXPIRED, KeyState.ACTIVE)


async def test_a_grace_period_never_prolongs_a_key_and_zero_ends_it_at_once(
    directory: Directory, clock: HandClock
) -> None:
    short, endless = (await create_key(directory, expires=60)).key, (await create_key(directory)).key
    await directory.keys.rotate(short.id, new_key()[1], DAY, ACTOR)
    renewed = await directory.keys.rotate(endless.id, new_key()[1], 0, ACTOR)
    assert (await directory.keys.holder(short.id)).key.expires_at == short.expires_at
    assert (await directory.keys.holder(endless.id)).key.state(clock()) is KeyState.EXPIRED
    assert renewed.key.expires_at is None


async def test_only_an_active_key_is_rotated_and_only_once(directory: Directory, clock: HandClock) -> None:
    keys = [(await create_key(directory, expires=60)).key.id for _ in range(4)]
    await directory.keys.block(keys[0], ACTOR)
    await directory.keys.revoke(keys[1], ACTOR)
    replaced = await directory.keys.rotate(keys[2], new_key()[1], 60, ACTOR)
    for key, why in zip(keys, ["blocked", "revoked", f"{replaced.key.id} is in its place"], strict=False):
        with pytest.raises(NotAllowed, match=why):
            await directory.keys.rotate(key, new_key()[1], 60, ACTOR)
    clock.advance(60)
    with pytest.raises(NotAllowed, match="expired"):
        await directory.keys.rotate(keys[3], new_key()[1], 60, ACTOR)


async def test_a_stopped_key_stays_stopped_through_a_rotation(directory: Directory) -> None:
    key = (await create_key(directory)).key.id
    await directory.keys.stop(key, ACTOR)
    assert (await directory.keys.rotate(key, new_key()[1], 60, ACTOR)).is_stopped


async def test_a_repeated_change_happens_once(directory: Directory) -> None:
    key = (await create_key(directory)).key.id
    _, new = new_key()
    made_twice = [await directory.keys.create("film", "anna", new, ACTOR, scopes=READ) for _ in range(2)]
    _, following = new_key()
    rotated_twice = [await directory.keys.rotate(key, following, 60, ACTOR) for _ in range(2)]
    assert made_twice[0].key == made_twice[1].key
    assert rotated_twice[0].key == rotated_twice[1].key
    assert [entry.action for entry in await directory.audit.entries(10, after=3)] == ["key.create", "key.rotate"]


async def test_the_last_use_is_recorded_by_the_minute_and_never_decreases(directory: Directory) -> None:
    used, unused = (await create_key(directory)).key.id, (await create_key(directory)).key.id
    version = await directory.facts.version()
    await directory.keys.note_used({used, *(f"{number:012x}" for number in range(1200))}, 120)
    await directory.keys.note_used([used], 60)
    await directory.keys.note_used([], 180)
    assert (await directory.keys.holder(used)).key.last_used_at == 120
    assert (await directory.keys.holder(unused)).key.last_used_at is None
    assert await directory.facts.version() == version


async def test_concurrent_changes_run_one_after_another(directory: Directory) -> None:
    await create_key(directory)
    version = await directory.facts.version()
    calls = [directory.teams.create(f"team {number % 5}", "UTC", ACTOR) for number in range(10)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["AlreadyThere"] * 5 + ["Team"] * 5
    assert await directory.facts.version() == version + 5


async def test_a_database_user_with_table_privileges_only_can_administer(
    shared_postgres: PostgresServer, clock: HandClock
) -> None:
    url = await empty_database(shared_postgres)
    async with opened(url):
        pass
    connection = await asyncpg.connect(url)
    role = f"limited_{secrets.token_hex(4)}"
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'word'")
    await connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    await connection.close()
    async with opened(url.replace("luma:luma@", f"{role}:word@")) as database:
        assert (await create_key(directory_at(database, clock))).team.name == "film"


async def test_the_audit_log_is_read_in_pages_by_team_and_time(directory: Directory, clock: HandClock) -> None:
    await create_key(directory)
    clock.advance(DAY)
    other = await directory.teams.create("music", "UTC", ACTOR)
    await directory.audit.append(AuditEntry("member", "submit", "film/anna", amount=1_190_000, unit="credits"))
    everything = await directory.audit.entries(10)
    assert [entry.id for entry in everything] == [1, 2, 3, 4, 5]
    assert (everything[4].amount, everything[4].at, everything[4].before) == (1_190_000, clock(), None)
    assert await directory.audit.entries(2, after=2) == everything[2:4]
    assert await directory.audit.entries(10, team_id=other.id) == [everything[3]]
    assert await directory.audit.entries(10, since=clock()) == everything[3:]


async def test_old_entries_are_deleted_and_their_ids_not_used_again(directory: Directory, clock: HandClock) -> None:
    await create_key(directory)
    clock.advance(DAY)
    assert await directory.audit.delete_old(DAY - 1) == 3
    await directory.teams.stop("film", ACTOR)
    assert [entry.id for entry in await directory.audit.entries(10)] == [4]


async def test_a_member_joins_once_with_its_id_and_a_free_name(directory: Directory) -> None:
    film = await directory.teams.create("film", "UTC", ACTOR)
    await directory.teams.create("ads", "UTC", ACTOR)
    assert [team.name for team in await directory.teams.named(["ads", "film", "music"])] == ["ads", "film"]
    ids = [f"{number}" * 32 for number in range(3)]
    assert await directory.teams.member(film.id, ids[0]) is None
    joined = [await directory.teams.join(film, member_id, "anna", ACTOR) for member_id in ids]
    assert [member.id for member in joined] == ids
    assert [member.name for member in joined] == ["anna", f"anna {'1' * 8}", f"anna {'2' * 8}"]
    version = len(await directory.audit.entries(100))
    assert await directory.teams.join(film, ids[0], "anna, renamed", ACTOR) == joined[0]
    assert len(await directory.audit.entries(100)) == version
    assert await directory.teams.member(film.id, ids[0]) == joined[0]
    assert await directory.teams.member("another team", ids[0]) is None


async def test_a_member_who_joins_at_two_replicas_at_once_is_added_once(directory: Directory) -> None:
    film = await directory.teams.create("film", "UTC", ACTOR)
    joined = await asyncio.gather(*(directory.teams.join(film, "a" * 32, "anna", ACTOR) for _ in range(4)))
    assert joined == [joined[0]] * 4
    assert await directory.teams.members("film") == [joined[0]]
