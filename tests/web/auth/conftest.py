"""A service with sign-in, and the fakes of AceDataCloud that it signs people in with."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.acedata_login import FakeAceData, fake_acedata
from tests.support.clock import HandClock
from tests.support.oauth import Browser, SignInFleet, sign_in_fleet
from tests.support.service import plain_client


@pytest.fixture
async def acedata() -> AsyncIterator[FakeAceData]:
    async with fake_acedata() as fake:
        yield fake


@pytest.fixture
async def fleet(clock: HandClock, acedata: FakeAceData) -> AsyncIterator[SignInFleet]:
    """Lend one replica, whose database is in memory."""
    async with sign_in_fleet(clock, acedata) as lent:
        yield lent


@pytest.fixture
async def pair(clock: HandClock, acedata: FakeAceData, database_url: str) -> AsyncIterator[SignInFleet]:
    """Lend two replicas that share a database."""
    async with sign_in_fleet(clock, acedata, replicas=2, database_url=database_url) as lent:
        yield lent


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with plain_client(limits=httpx.Limits(max_keepalive_connections=0)) as http:
        yield Browser(http)
