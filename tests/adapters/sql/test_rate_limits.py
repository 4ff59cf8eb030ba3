"""The administration of rate limits in SQLite and PostgreSQL, and the limits of a key."""

import asyncio

import pytest

from app.adapters.sql.engine import Database
from app.adapters.sql.rate_limits import SqlTeamLimits
from app.domain.access import Scope
from app.domain.budget import OVERDUE_SECONDS, Spender
from app.domain.rate_limit import InFlightLimitReached, LimitKind, LimitLevel, Limits, RateLimit
from app.domain.teams import AuditEntry
from app.ports.budgets import BudgetOwner
from app.ports.directory import Directory, NotThere
from app.ports.rate_limits import OwnedLimits
from tests.support.clock import HandClock
from tests.support.directories import ACTOR, directory_at, new_key
from tests.support.spending import Purchaser

FILM = BudgetOwner("film")
ANA = BudgetOwner("film", member="ana")
CALLS, GENERATIONS, IN_FLIGHT = LimitKind


@pytest.fixture
def limits(database: Database, clock: HandClock) -> SqlTeamLimits:
    return SqlTeamLimits(database, clock.sql)


@pytest.fixture
async def directory(database: Database, clock: HandClock) -> Directory:
    directory = directory_at(database, clock)
    await directory.teams.create("film", "Europe/Berlin", ACTOR)
    for name in ("ana", "ben"):
        await directory.teams.add_member("film", name, ACTOR)
    return directory


async def purchaser(database: Database, clock: HandClock, directory: Directory, member: str) -> Purchaser:
    made = await directory.keys.create("film", member, new_key()[1], ACTOR, scopes=frozenset({Scope.GENERATE}))
    return Purchaser(database, clock, Spender(made.team.id, made.member.id, made.key.id))


@pytest.fixture
async def ana(database: Database, clock: HandClock, directory: Directory) -> Purchaser:
    return await purchaser(database, clock, directory, "ana")


@pytest.fixture
async def ben(database: Database, clock: HandClock, directory: Directory) -> Purchaser:
    return await purchaser(database, clock, directory, "ben")


async def audited(directory: Directory) -> list[AuditEntry]:
    return [entry for entry in await directory.audit.entries(100) if entry.action.startswith("limits.")]


async def refused(buyer: Purchaser) -> tuple[LimitLevel, int]:
    with pytest.raises(InFlightLimitReached) as caught:
        await buyer.reserve()
    return caught.value.level, caught.value.maximum


async def test_limits_are_set_one_by_one_listed_and_removed(limits: SqlTeamLimits, ana: Purchaser) -> None:
    key = BudgetOwner("film", key=ana.spender.key)
    await limits.set(key, Limits(in_flight=1), ACTOR)
    await limits.set(ANA, Limits(calls_per_minute=60), ACTOR)
    await limits.set(FILM, Limits(generations_per_hour=5), ACTOR)
    both = await limits.set(ANA, Limits(generations_per_hour=9), ACTOR)
    assert both == OwnedLimits(ANA, Limits(60, 9))
    team, member, of_key = OwnedLimits(FILM, Limits(None, 5)), both, OwnedLimits(key, Limits(None, None, 1))
    assert await limits.of_team("film") == [team, member, of_key]
    assert (await limits.remove(ANA, [CALLS], ACTOR)).limits == Limits(None, 9)
    await limits.remove(ANA, list(LimitKind), ACTOR)
    assert await limits.of_team("film") == [team, of_key]


async def test_what_is_not_there_is_refused(limits: SqlTeamLimits, directory: Directory) -> None:
    for owner in (BudgetOwner("music"), BudgetOwner("film", member="carl"), BudgetOwner("film", key="0123")):
        with pytest.raises(NotThere):
            await limits.set(owner, Limits(1), ACTOR)
    await limits.set(FILM, Limits(1), ACTOR)
    for owner, kinds in ((ANA, list(LimitKind)), (FILM, [IN_FLIGHT])):
        with pytest.raises(NotThere):
            await limits.remove(owner, kinds, ACTOR)
    with pytest.raises(NotThere):
        await limits.of_team("music")


async def test_every_change_is_audited_and_increments_the_version(limits: SqlTeamLimits, directory: Directory) -> None:
    before = await directory.facts.version()
    await limits.set(ANA, Limits(60), ACTOR)
    await limits.set(ANA, Limits(30, 9), ACTOR)
    await limits.set(ANA, Limits(30), ACTOR)
    await limits.remove(ANA, [GENERATIONS], ACTOR)
    assert await directory.facts.version() == before + 4
    shown = [(one.action, one.subject, one.before, one.after) for one in await audited(directory)]
    assert shown == [
        ("limits.set", "member ana", {"calls_per_minute": None}, {"calls_per_minute": 60}),
        (
            "limits.set",
            "member ana",
            {"calls_per_minute": 60, "generations_per_hour": None},
            {"calls_per_minute": 30, "generations_per_hour": 9},
        ),
        ("limits.remove", "member ana", {"generations_per_hour": 9}, {"generations_per_hour": None}),
    ]


async def test_a_key_is_found_with_the_limits_that_apply_to_it(limits: SqlTeamLimits, directory: Directory) -> None:
    new, other = new_key()[1], new_key()[1]
    made = await directory.keys.create("film", "ana", new, ACTOR, scopes=frozenset({Scope.READ}))
    await directory.keys.create("film", "ben", other, ACTOR, scopes=frozenset({Scope.READ}))
    await limits.set(FILM, Limits(100, 50, 5), ACTOR)
    await limits.set(ANA, Limits(60), ACTOR)
    await limits.set(BudgetOwner("film", key=new.id), Limits(None, 3, 2), ACTOR)
    of_team = {
        RateLimit(CALLS, LimitLevel.TEAM, made.team.id, 100),
        RateLimit(GENERATIONS, LimitLevel.TEAM, made.team.id, 50),
    }
    mine = {
        RateLimit(CALLS, LimitLevel.MEMBER, made.member.id, 60),
        RateLimit(GENERATIONS, LimitLevel.KEY, new.id, 3),
    }
    found = [await directory.keys.key_holder(one.digest) for one in (new, other)]
    assert [set(one.limits) for one in found if one is not None] == [of_team | mine, of_team]


async def test_a_rotated_key_keeps_its_limits_and_shares_their_count(
    limits: SqlTeamLimits, directory: Directory, database: Database, clock: HandClock, ana: Purchaser
) -> None:
    assert ana.spender.key is not None
    await limits.set(BudgetOwner("film", key=ana.spender.key), Limits(7, None, 1), ACTOR)
    second = new_key()[1]
    await directory.keys.rotate(ana.spender.key, second, 3600.0, ACTOR)
    holder = await directory.keys.key_holder(second.digest)
    assert holder is not None
    assert holder.limits == (RateLimit(CALLS, LimitLevel.KEY, ana.spender.key, 7),)
    assert [one.owner.key for one in await limits.of_team("film")] == [second.id]
    await ana.reserve()
    successor = Purchaser(database, clock, Spender(ana.spender.team, ana.spender.member, second.id))
    assert await refused(successor) == (LimitLevel.KEY, 1)
    await limits.set(BudgetOwner("film", key=second.id), Limits(in_flight=2), ACTOR)
    await successor.reserve()


async def test_generations_in_flight_count_until_they_end(
    limits: SqlTeamLimits, ana: Purchaser, ben: Purchaser
) -> None:
    await limits.set(FILM, Limits(in_flight=3), ACTOR)
    await limits.set(ANA, Limits(in_flight=2), ACTOR)
    first, _ = await ana.reserve()
    await ana.reserve()
    assert await refused(ana) == (LimitLevel.MEMBER, 2)
    await ben.reserve()
    assert await refused(ben) == (LimitLevel.TEAM, 3)
    await ana.ledger.take(first)
    second, _ = await ben.reserve()
    assert await refused(ana) == (LimitLevel.TEAM, 3)
    await ben.ledger.give_back(second)
    await ana.reserve()


async def test_a_generation_with_unknown_outcome_is_counted_only_while_it_may_run(
    limits: SqlTeamLimits, clock: HandClock, ana: Purchaser
) -> None:
    await limits.set(FILM, Limits(in_flight=1), ACTOR)
    await ana.reserve()
    clock.advance(OVERDUE_SECONDS - 1)
    assert await refused(ana) == (LimitLevel.TEAM, 1)
    clock.advance(1)
    await ana.reserve()


async def test_a_repeated_claim_does_not_count_itself(limits: SqlTeamLimits, ana: Purchaser) -> None:
    await limits.set(FILM, Limits(in_flight=1), ACTOR)
    attempt, _ = await ana.reserve()
    await ana.reserve(attempt)


async def test_concurrent_claims_never_exceed_the_limit(limits: SqlTeamLimits, ana: Purchaser, ben: Purchaser) -> None:
    await limits.set(FILM, Limits(in_flight=2), ACTOR)
    for _ in range(8):
        claims = [buyer.reserve() for buyer in (ana, ben) for _ in range(5)]
        ended = await asyncio.gather(*claims, return_exceptions=True)
        assert sum(isinstance(one, InFlightLimitReached) for one in ended) == len(ended) - 2
        for one in ended:
            if isinstance(one, tuple):
                await ana.ledger.give_back(one[0])
