"""Fixtures of the random histories: a loop and a database in memory for all histories of a module."""

import asyncio
from collections.abc import Iterator

import pytest

from app.adapters.sql.engine import Database
from tests.support.clock import PATIENT


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def database(runner: asyncio.Runner) -> Iterator[Database]:
    database = Database(None, PATIENT)
    runner.run(database.open())
    yield database
    runner.run(database.aclose())
