"""The directory of teams: the start of a service waits for its first attempt to open it, and for no other."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.adapters.sql.directory import sql_directory
from app.ports.repositories import DatabaseUnavailable
from app.services.teams.directory_cache import DirectoryCache
from app.services.teams.opening import TeamDirectory
from app.services.version_follower import CacheClocks
from tests.support.clock import HandClock, while_time_passes
from tests.support.databases import opened
from tests.support.eventually import eventually


class Opening:
    """Opens a directory after some iterations of the event loop, unless `fault` is set."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.attempts = 0

    async def __call__(self) -> str:
        self.attempts += 1
        for _ in range(100):
            await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return "digest"


async def with_directory(
    opening: Opening, clock: HandClock, use: Callable[[TeamDirectory[str]], Awaitable[None]]
) -> None:
    async with opened(None) as database:
        repositories = sql_directory(database, clock.sql)
        clocks = CacheClocks(clock, clock, clock.sleep)
        cache = DirectoryCache(repositories, lambda _credential: None, "backend", clocks)
        directory = TeamDirectory(cache, repositories, opening, clock.sleep)
        async with directory.running():
            await use(directory)


async def test_a_service_that_has_started_knows_its_keys(clock: HandClock) -> None:
    async def use(directory: TeamDirectory[str]) -> None:
        assert directory.digest() == "digest"

    opening = Opening()
    await with_directory(opening, clock, use)
    assert opening.attempts == 1


@pytest.mark.parametrize("fault", [DatabaseUnavailable("does not answer"), RuntimeError("another secret key")])
async def test_a_service_starts_without_its_directory_and_opens_it_later(clock: HandClock, fault: Exception) -> None:
    opening = Opening(fault)

    async def use(directory: TeamDirectory[str]) -> None:
        assert directory.digest() is None
        opening.fault = None
        await while_time_passes(clock, eventually(lambda: directory.digest() is not None))

    await with_directory(opening, clock, use)
    assert opening.attempts == 2
