"""Fixtures that several rooms share."""

from collections.abc import Iterator

import pytest

from tests.support.clock import HandClock
from tests.support.redis_server import RedisServer


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


@pytest.fixture
def clock() -> HandClock:
    """Lend a clock set by hand."""
    return HandClock()
