"""Two replicas with administration over HTTP, and an administrator of the team film."""

from collections.abc import AsyncIterator

import pytest

from tests.support.administrator import Administrator, administrator
from tests.support.clock import HandClock
from tests.support.fleet import Fleet, running_fleet


@pytest.fixture
async def fleet(clock: HandClock, database_url: str) -> AsyncIterator[Fleet]:
    async with running_fleet(clock, database_url, admin="on") as fleet:
        yield fleet


@pytest.fixture
async def root(fleet: Fleet) -> Administrator:
    return await administrator(fleet)
