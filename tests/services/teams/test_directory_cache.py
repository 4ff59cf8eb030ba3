"""DirectoryCache: look-ups, changes of the directory, outages of the database, and the last use of keys."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Any

import pytest

from app.domain.access import PASSTHROUGH_SCOPES, Credential
from app.domain.teams import ApiKey, KeyHolder, KeyState, Member, Team
from app.ports.auth import AuthenticationUnavailable
from app.ports.directory import Directory
from app.ports.repositories import DatabaseUnavailable
from app.services.batched_lookups import MAX_WAITING
from app.services.teams.directory_cache import OUTAGE_SECONDS, DirectoryCache
from app.services.version_follower import RECORD_USE_SECONDS, VERSION_SECONDS, CacheClocks
from tests.support.clock import HandClock, while_time_passes


class Rows:
    """A directory whose rows and faults the test sets. `number` is its version."""

    def __init__(self) -> None:
        self.number = 1
        self.is_out = self.fails_to_read = False
        self.holders: dict[str, KeyHolder] = {}
        self.asked: list[str] = []
        self.noted: list[tuple[set[str], float]] = []
        self.at_once, self.most_at_once = 0, 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def version(self) -> int:
        if self.is_out:
            raise DatabaseUnavailable("does not answer")
        return self.number

    async def key_holders(self, digests: Collection[str]) -> dict[str, KeyHolder]:
        if self.is_out or self.fails_to_read:
            raise DatabaseUnavailable("does not answer")
        self.asked += digests
        found = {digest: self.holders[digest] for digest in digests if digest in self.holders}
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.may_answer.wait()
        self.at_once -= 1
        return found

    async def note_used(self, key_ids: set[str], minute: float) -> None:
        self.noted.append((key_ids, minute))

    async def of_team(self, _team_id: str) -> list[Any]:
        return []


def holder(key_id: str, now: float, expires_at: float | None = None) -> KeyHolder:
    key = ApiKey(
        key_id,
        "member",
        "lmk_…",
        PASSTHROUGH_SCOPES,
        note="",
        is_blocked=False,
        is_stopped=False,
        created_at=now,
        expires_at=expires_at,
    )
    member = Member("member", "team", "anna", is_stopped=False, created_at=now)
    rules = {"is_stopped": False, "allows_foreign_ids": False, "members_see_all": True}
    return KeyHolder(key, member, Team("team", "film", "UTC", **rules, created_at=now), now)


class Watched:
    """A DirectoryCache over Rows, with its background task."""

    def __init__(self, clock: HandClock) -> None:
        self.rows, self.clock = Rows(), clock
        rows: Any = self.rows
        directory = Directory(
            teams=rows,
            keys=rows,
            credentials=rows,
            audit=rows,
            facts=rows,
            invitations=rows,
            people=rows,
            departures=rows,
        )
        clocks = CacheClocks(clock, clock, clock.sleep)
        self.cache = DirectoryCache(directory, lambda one: Credential(one.id, "secret"), "acedata", clocks)

    async def settle(self, seconds: float = VERSION_SECONDS + 1) -> None:
        await while_time_passes(self.clock, self.clock.sleep(seconds), step=1)


@pytest.fixture
async def watched(clock: HandClock) -> AsyncIterator[Watched]:
    lent = Watched(clock)
    following = asyncio.create_task(lent.cache.run())
    await lent.settle()
    yield lent
    following.cancel()
    await asyncio.wait([following])


async def test_known_and_unknown_keys_are_looked_up_once(watched: Watched) -> None:
    watched.rows.holders["known"] = holder("key-1", watched.clock())
    for _ in range(3):
        assert await watched.cache.key("known") is not None
        assert await watched.cache.key("unknown") is None
    assert watched.rows.asked == ["known", "unknown"]


async def test_a_change_of_the_directory_takes_effect_within_seconds(watched: Watched) -> None:
    known = watched.rows.holders["one"] = holder("key-1", watched.clock())
    await watched.cache.key("one")
    await watched.cache.key("other")
    watched.rows.holders = {"other": known}
    watched.rows.number += 1
    await watched.settle()
    assert await watched.cache.key("one") is None
    assert await watched.cache.key("other") is not None


async def test_a_key_read_before_a_change_is_not_cached_after_it(watched: Watched) -> None:
    watched.rows.holders["one"] = holder("key-1", watched.clock())
    watched.rows.may_answer.clear()
    asking = asyncio.create_task(watched.cache.key("one"))
    while not watched.rows.asked:
        await asyncio.sleep(0)
    watched.rows.holders = {}
    watched.rows.number += 1
    await watched.settle()
    watched.rows.may_answer.set()
    assert await asking is not None
    assert await watched.cache.key("one") is None


async def test_a_cached_key_expires_without_a_change_of_the_directory(watched: Watched) -> None:
    watched.rows.holders["one"] = holder("key-1", watched.clock(), watched.clock() + 30)
    known = await watched.cache.key("one")
    assert known is not None
    assert known.state(watched.clock() + 29) is KeyState.ACTIVE
    assert known.state(watched.clock() + 31) is KeyState.EXPIRED


async def test_only_known_keys_are_accepted_for_a_minute_when_the_database_is_out(watched: Watched) -> None:
    watched.rows.holders["one"] = holder("key-1", watched.clock())
    await watched.cache.key("one")
    watched.rows.is_out = True
    await watched.settle(OUTAGE_SECONDS - 5)
    assert await watched.cache.key("one") is not None
    with pytest.raises(AuthenticationUnavailable):
        await watched.cache.key("unknown")
    await watched.settle(10)
    with pytest.raises(AuthenticationUnavailable):
        await watched.cache.key("one")
    watched.rows.is_out = False
    await watched.settle()
    assert await watched.cache.key("one") is not None


async def test_waiting_keys_share_one_query_and_the_oldest_is_refused_when_the_queue_is_full(watched: Watched) -> None:
    watched.rows.holders["real"] = holder("key-1", watched.clock())
    watched.rows.may_answer.clear()
    first = asyncio.create_task(watched.cache.key("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    names = (f"forged-{number}" for number in range(MAX_WAITING + 10))
    forged = [asyncio.create_task(watched.cache.key(name)) for name in names]
    real = asyncio.create_task(watched.cache.key("real"))
    await asyncio.sleep(0)
    watched.rows.may_answer.set()
    assert await real is not None
    assert await first is None
    ends = await asyncio.gather(*forged, return_exceptions=True)
    assert [isinstance(end, AuthenticationUnavailable) for end in ends] == [True] * 11 + [False] * (MAX_WAITING - 1)
    assert watched.rows.most_at_once == 1


async def test_known_keys_are_read_again_after_a_change_and_need_no_look_up(watched: Watched) -> None:
    watched.rows.holders["one"] = holder("key-1", watched.clock())
    await watched.cache.key("one")
    watched.rows.number += 1
    await watched.settle()
    watched.rows.may_answer.clear()
    flood = [asyncio.create_task(watched.cache.key(f"forged-{number}")) for number in range(MAX_WAITING)]
    await asyncio.sleep(0)
    assert await watched.cache.key("one") is not None
    watched.rows.may_answer.set()
    await asyncio.gather(*flood)
    assert watched.rows.asked.count("one") == 2


async def test_a_change_is_read_later_when_the_read_fails(watched: Watched) -> None:
    watched.rows.holders["one"] = holder("key-1", watched.clock())
    await watched.cache.key("one")
    watched.rows.holders = {}
    watched.rows.number += 1
    watched.rows.fails_to_read = True
    await watched.settle()
    watched.rows.fails_to_read = False
    await watched.settle()
    assert await watched.cache.key("one") is None


async def test_the_last_use_is_recorded_to_the_minute_and_once_for_all_calls(watched: Watched) -> None:
    known = holder("key-1", watched.clock())
    watched.rows.holders["one"] = replace(known)
    for _ in range(5):
        noted = await watched.cache.key("one")
        assert noted is not None
        watched.cache.note_use(noted)
    await watched.settle(RECORD_USE_SECONDS + 5)
    [(key_ids, minute)] = watched.rows.noted
    assert key_ids == {"key-1"}
    assert minute % 60 == 0
