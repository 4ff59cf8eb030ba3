"""Ends of memberships and of personal teams in the database, by the same contract on every kind."""

import asyncio
import hashlib
import secrets
from typing import Any

import pytest
from sqlalchemy import func, select

from app.adapters.sql.budget_administration import SqlBudgets
from app.adapters.sql.budget_tables import ledger
from app.adapters.sql.departures import FORMER
from app.adapters.sql.engine import Database
from app.adapters.sql.rate_limits import SqlTeamLimits
from app.adapters.sql.tables import metadata
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.budget import EntryState
from app.domain.calendar import Window
from app.domain.money import Money
from app.domain.rate_limit import Limits
from app.domain.teams import MAX_NAME_LENGTH, KeyState, TeamCredential, valid_name
from app.ports.budgets import BudgetOwner, BudgetTerms
from app.ports.directory import Directory, NotAllowed, NotThere
from app.ports.people import Departure, Newcomer, NewInvitation, TooManyTeams
from tests.support.clock import HandClock
from tests.support.directories import ACTOR, directory_at, new_key

DAY = 86_400.0


@pytest.fixture
async def directory(database: Database, clock: HandClock) -> Directory:
    made = directory_at(database, clock)
    await made.teams.create("film", "UTC", ACTOR)
    return made


def person(name: str) -> Newcomer:
    """Return a person whose ids are made of the name."""

    def id_of(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    return Newcomer(id_of(name), name, lambda team_id: id_of(f"{name} {team_id}"))


async def joined(directory: Directory, name: str, team: str = "film") -> str:
    """Have a person join a team, and return the id of the member."""
    new = NewInvitation(secrets.token_hex(6), secrets.token_hex(32))
    await directory.invitations.create(team, new, ACTOR, expires_seconds=60)
    return (await directory.invitations.join(new.digest, person(name), ACTOR)).id


async def add_key(directory: Directory, team: str, member: str) -> str:
    _, key = new_key()
    return (await directory.keys.create(team, member, key, ACTOR, scopes=PASSTHROUGH_SCOPES)).key.id


async def count(database: Database, table: Any) -> int:
    wanted = select(func.count()).select_from(table)
    return int((await database.run(lambda connection: connection.execute(wanted))).scalar_one())


async def test_a_removed_member_is_no_member_and_has_no_key(directory: Directory, clock: HandClock) -> None:
    member_id = await joined(directory, "bea")
    await directory.teams.add_member("film", "carl", ACTOR)
    keys = [await add_key(directory, "film", "bea") for _ in range(2)]
    other = await add_key(directory, "film", "carl")
    await directory.keys.revoke(keys[0], ACTOR)
    departed = await directory.departures.remove("film", Departure(member_id, None), ACTOR)
    assert (departed.member.name, departed.keys, departed.grants) == ("bea", 1, 0)
    assert [one.name for one in await directory.teams.members("film")] == ["carl"]
    states = [(await directory.keys.holder(key)).key.state(clock()) for key in (*keys, other)]
    assert states == [KeyState.REVOKED, KeyState.REVOKED, KeyState.ACTIVE]
    assert await directory.people.find(person("bea").person_id) is None
    with pytest.raises(NotThere):
        await add_key(directory, "film", "bea")
    with pytest.raises(NotThere):
        await add_key(directory, "film", "bea (removed)")
    with pytest.raises(NotThere):
        await directory.departures.remove("film", Departure(member_id, None), ACTOR)


async def test_the_name_of_a_removed_member_is_free_and_given_back_as_far_as_it_is(directory: Directory) -> None:
    names = ["b" * MAX_NAME_LENGTH, f"{'b' * (MAX_NAME_LENGTH - len(FORMER))}{FORMER}"]
    await directory.teams.add_member("film", names[1], ACTOR)
    member_id = await joined(directory, "b" * MAX_NAME_LENGTH)
    await directory.departures.remove("film", Departure(member_id, None), ACTOR)
    former = await directory.teams.member((await directory.teams.team("film")).id, member_id)
    assert former is not None
    assert former.name not in names
    assert valid_name(former.name) == former.name
    await directory.teams.add_member("film", names[0], ACTOR)
    assert await joined(directory, "b" * MAX_NAME_LENGTH) == member_id
    assert len(await directory.teams.members("film")) == 3


async def test_of_removals_at_once_one_is_done(directory: Directory) -> None:
    member_id = await joined(directory, "bea")
    removals = (directory.departures.remove("film", Departure(member_id, None), ACTOR) for _ in range(4))
    results = await asyncio.gather(*removals, return_exceptions=True)
    assert sum(isinstance(one, NotThere) for one in results) == 3
    actions = [entry.action for entry in await directory.audit.entries(100)]
    assert actions.count("member.remove") == 1


async def test_whom_a_personal_team_was_made_for_stays_and_a_guest_goes(directory: Directory) -> None:
    made = await directory.people.make_personal(person("bea"), ACTOR, 10)
    with pytest.raises(NotAllowed, match="teams delete"):
        await directory.departures.remove(made.team.name, Departure(made.member.id, None), ACTOR)
    guest = await joined(directory, "carl", made.team.name)
    bound = await directory.departures.bound_people(made.team.id)
    assert set(bound) == {person("bea").person_id, person("carl").person_id}
    await directory.departures.remove(made.team.name, Departure(guest, None), ACTOR)
    assert await directory.departures.bound_people(made.team.id) == [person("bea").person_id]
    await joined(directory, "bea")
    assert await directory.departures.bound_people(made.team.id) == [], "she acts for film"


async def test_a_deleted_personal_team_leaves_only_what_it_has_spent(
    database: Database, directory: Directory, clock: HandClock
) -> None:
    tables = [table for table in metadata.sorted_tables if table.name not in ("audit", "service", "alembic_version")]
    before = {table.name: await count(database, table) for table in tables}
    made = await directory.people.make_personal(person("bea"), ACTOR, 10)
    name = made.team.name
    await joined(directory, "carl", name)
    await add_key(directory, name, "bea")
    credential = TeamCredential("c1", made.team.id, "acedata", "sealed", "…", created_at=0.0)
    await directory.credentials.add(credential, ACTOR)
    terms = BudgetTerms(Money(1_000_000, "credits"), Window.DAY)
    await SqlBudgets(database, clock.sql).set(BudgetOwner(name, None, None), terms, ACTOR)
    await SqlTeamLimits(database, clock.sql).set(BudgetOwner(name, "bea", None), Limits(1, 1, 1), ACTOR)
    await spend(database, made.team.id, clock)
    with pytest.raises(NotAllowed):
        await directory.departures.delete_personal("film", [], ACTOR)
    assert (await directory.departures.delete_personal(name, [], ACTOR)).id == made.team.id
    after = {table.name: await count(database, table) for table in tables}
    assert after == before | {"ledger": before["ledger"] + 1}
    assert [entry.action for entry in await directory.audit.entries(100)][-1] == "team.delete"
    with pytest.raises(NotThere):
        await directory.departures.delete_personal(name, [], ACTOR)
    assert await directory.people.find(person("carl").person_id) is None
    again = await directory.people.make_personal(person("bea"), ACTOR, 10)
    assert again.team.id != made.team.id


async def test_personal_teams_that_nobody_uses_are_found(
    database: Database, directory: Directory, clock: HandClock
) -> None:
    made = {name: (await directory.people.make_personal(person(name), ACTOR, 10)).team for name in "abcde"}
    clock.advance(DAY)
    made["young"] = (await directory.people.make_personal(person("young"), ACTOR, 10)).team
    for number, name in enumerate("ab"):
        credential = TeamCredential(f"c{number}", made[name].id, "acedata", f"sealed-{number}", "…", created_at=0.0)
        await directory.credentials.add(credential, ACTOR)
    await directory.credentials.remove(made["b"].name, "c1", ACTOR)
    await spend(database, made["c"].id, clock)
    await directory.teams.stop(made["d"].name, ACTOR)
    unused = await directory.departures.unused_personal(DAY)
    assert {team.id for team in unused} == {made["b"].id, made["e"].id}


async def test_no_further_personal_team_is_made_beyond_the_limit(directory: Directory) -> None:
    people = [person(name) for name in "abcd"]
    makings = (directory.people.make_personal(one, ACTOR, 2) for one in people)
    results = await asyncio.gather(*makings, return_exceptions=True)
    assert sum(isinstance(one, TooManyTeams) for one in results) == 2
    made = [one for one in results if not isinstance(one, BaseException)]
    for one in people:
        if await directory.people.find(one.person_id) is not None:
            await directory.people.make_personal(one, ACTOR, 2)  # the one that is there
    await directory.departures.delete_personal(made[0].team.name, [], ACTOR)
    await directory.people.make_personal(person("e"), ACTOR, 2)


async def spend(database: Database, team_id: str, clock: HandClock) -> None:
    """Record that a team has bought something."""
    values = {"attempt": secrets.token_hex(16), "team_id": team_id, "state": EntryState.TAKEN, "windows": []}
    row = ledger.insert().values(values | {"created_at": clock()})
    await database.run(lambda connection: connection.execute(row))
