"""Fixtures with a database of each kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.adapters.sql.engine import Database
from tests.support.databases import KINDS, SHARED_KINDS, PostgresServers, migrated_url_of, opened, url_of


@pytest.fixture(params=SHARED_KINDS)
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path, postgres_servers: PostgresServers) -> str:
    """Return the URL of a new database without tables, of each kind that several processes can use."""
    url = await url_of(request.param, tmp_path, postgres_servers)
    assert url is not None
    return url


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path, postgres_servers: PostgresServers) -> str | None:
    """Return the URL of `database`, a database of each kind; None means one in memory."""
    return await migrated_url_of(request.param, tmp_path, postgres_servers)


@pytest.fixture
async def database(url: str | None) -> AsyncIterator[Database]:
    """Yield the migrated database, without rows."""
    async with opened(url) as database:
        yield database
