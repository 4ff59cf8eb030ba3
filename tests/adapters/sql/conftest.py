"""Fixtures with a database of each kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.adapters.sql.engine import Database
from tests.support.databases import KINDS, opened, url_of
from tests.support.postgres_server import PostgresServer


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path, shared_postgres: PostgresServer) -> str | None:
    """Yield the URL of a new database of each kind; None means one in memory."""
    return await url_of(request.param, tmp_path, shared_postgres)


@pytest.fixture
async def database(url: str | None) -> AsyncIterator[Database]:
    """Yield the migrated database."""
    async with opened(url) as database:
        yield database
