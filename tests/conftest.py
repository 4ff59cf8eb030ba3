"""Fixtures for tests of several packages: Redis, PostgreSQL, an OpenID issuer, a database URL and a manual clock."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clock import HandClock
from tests.support.databases import PostgresServers
from tests.support.issuer import IssuerProcess, Realm, issuer_process
from tests.support.postgres_server import NEWEST, PostgresServer
from tests.support.redis_server import RedisServer, free_port


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """Yield a redis-server for the whole session. Tests must not stop, hang or reconfigure it."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """Return the session's Redis after a FLUSHALL."""
    shared_redis.flush_all()
    return shared_redis


@pytest.fixture
def fragile_redis() -> Iterator[RedisServer]:
    """Yield a redis-server for one test, which may stop or hang it."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[PostgresServers]:
    """Yield the PostgreSQL servers of the session, one of each version. Tests must not stop them."""
    with PostgresServers() as servers:
        yield servers


@pytest.fixture(scope="session")
def shared_postgres(postgres_servers: PostgresServers) -> PostgresServer:
    """Return the session's PostgreSQL server of the newest version. Tests create their own databases in it."""
    return postgres_servers.at(NEWEST)


@pytest.fixture
def fragile_postgres() -> Iterator[PostgresServer]:
    """Yield a PostgreSQL server for one test, which may stop and start it."""
    server = PostgresServer(free_port())
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def issuer() -> Iterator[IssuerProcess]:
    """Yield a process that serves any number of OpenID issuers, for the whole session. `realm` is one of them."""
    with issuer_process() as running:
        yield running


@pytest.fixture
def realm(issuer: IssuerProcess) -> Realm:
    """Return an OpenID issuer that no other test uses."""
    return issuer.realm()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Return the URL of a new SQLite file, which the replicas of one test can share."""
    return f"sqlite:///{tmp_path}/luma.db"


@pytest.fixture
def clock() -> HandClock:
    """Return a clock that only the test advances."""
    return HandClock()
