"""Fixtures that several rooms share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clock import HandClock
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer, free_port


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """Lend one Redis to the tests that do not harm it."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """Lend the shared Redis, emptied."""
    shared_redis.empty()
    return shared_redis


@pytest.fixture
def fragile_redis() -> Iterator[RedisServer]:
    """Lend a Redis of the test's own, to be killed and hung."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    """Lend one PostgreSQL to the tests that do not harm it."""
    server = PostgresServer(free_port())
    server.start()
    yield server
    server.close()


@pytest.fixture
def fragile_postgres() -> Iterator[PostgresServer]:
    """Lend a PostgreSQL of the test's own, to be stopped and started."""
    server = PostgresServer(free_port())
    server.start()
    yield server
    server.close()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Lend the URL of a file that several replicas of one test share."""
    return f"sqlite:///{tmp_path}/luma.db"


@pytest.fixture
def clock() -> HandClock:
    """Lend a clock set by hand."""
    return HandClock()
