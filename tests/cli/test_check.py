"""`luma-mcp check` and /readyz with services that answer but cannot be used."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse

from app.adapters.sandbox.backend import create_sandbox
from app.adapters.sql.migrate import REVISIONS
from tests.support.acedata_login import fake_acedata
from tests.support.certificates import server_context
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.postgres_server import PostgresServer
from tests.support.process import environment, run
from tests.support.redis_server import RedisClusterNode, RedisServer
from tests.support.service import KEY, listening, sandbox, serving, settings


@pytest.fixture
async def backend() -> AsyncIterator[str]:
    async with listening(create_sandbox(seconds=1, media_url="https://cdn.example.com")) as url:
        yield url


@pytest.fixture
def replica(fragile_redis: RedisServer) -> Iterator[RedisServer]:
    """Lend a Redis that follows another one, and so takes no writes."""
    follower = RedisServer("--replicaof", "127.0.0.1", str(fragile_redis.port))
    follower.start()
    yield follower
    follower.close()


async def check(tmp_path: Path, backend: str, url: str) -> tuple[int, str]:
    env = environment(redis_url=url, secret_key=KEY, acedata_url=backend)
    ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    return ended.returncode, ended.stdout


async def readyz(redis_url: str, clock: HandClock) -> dict[str, Any]:
    """Return what /readyz of a service with this Redis says."""
    async with serving(settings(redis_url=redis_url), sandbox(clock), clock) as service:
        report: dict[str, Any] = (await service.http.get(f"{service.url}/readyz")).json()
        return report


async def test_check_reports_a_read_only_redis_replica(tmp_path: Path, backend: str, replica: RedisServer) -> None:
    code, said = await check(tmp_path, backend, replica.url)
    assert code == 1
    assert f"Redis at 127.0.0.1:{replica.port} is a replica that takes no writes" in said


async def test_check_reports_a_full_redis(tmp_path: Path, backend: str, fragile_redis: RedisServer) -> None:
    with fragile_redis.client() as client:
        client.config_set("maxmemory", "1")
    code, said = await check(tmp_path, backend, fragile_redis.url)
    assert (code, "is full: raise maxmemory" in said) == (1, True)


async def test_check_and_readyz_report_a_redis_cluster_behind_a_plain_url(
    tmp_path: Path, backend: str, clock: HandClock
) -> None:
    node = RedisClusterNode()
    try:
        node.start()
        with node.client() as client:
            client.execute_command("CLUSTER", "DELSLOTS", *range(16_384))
        code, said = await check(tmp_path, backend, node.url)
        report = await readyz(node.url, clock)
    finally:
        node.close()
    assert (code, "Cluster" in said) == (1, True)
    assert (report["store_status"], report["store_fault"]) == ("refuses", "CLUSTERDOWN")


async def test_check_reports_a_database_that_redis_lacks(
    tmp_path: Path, backend: str, redis_server: RedisServer
) -> None:
    code, said = await check(tmp_path, backend, f"redis://127.0.0.1:{redis_server.port}/99")
    assert (code, "has no database of the number" in said) == (1, True)


@pytest.mark.parametrize(
    ("is_expired", "is_trusted", "words"),
    [
        (False, False, "certificate is not for this host"),
        (True, True, "certificate has expired"),
    ],
)
async def test_check_reports_a_certificate_that_is_not_accepted(
    tmp_path: Path, backend: str, words: str, *, is_expired: bool, is_trusted: bool
) -> None:
    context, authority = server_context(tmp_path, is_expired=is_expired)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        trust = f"?ssl_ca_certs={authority}" if is_trusted else ""
        code, said = await check(tmp_path, backend, f"rediss://127.0.0.1:{port}/0{trust}")
    assert (code, words in said) == (1, True)


async def test_check_reports_missing_rights_to_the_channel(
    tmp_path: Path, backend: str, fragile_redis: RedisServer
) -> None:
    with fragile_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "deaf", "on", ">word", "~*", "resetchannels", "+@all")
    code, said = await check(tmp_path, backend, f"redis://deaf:word@127.0.0.1:{fragile_redis.port}/0")
    assert code == 1
    assert "does not give this user the rights" in said


async def test_check_reports_that_events_do_not_arrive(
    tmp_path: Path, backend: str, fragile_redis: RedisServer
) -> None:
    with fragile_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "deaf", "on", ">word", "~*", "&*", "+@all", "-subscribe")
    code, said = await check(tmp_path, backend, f"redis://deaf:word@127.0.0.1:{fragile_redis.port}/0")
    assert code == 1
    assert "delivers no events: give this user the rights" in said


async def test_readyz_names_a_database_that_redis_does_not_have(redis_server: RedisServer, clock: HandClock) -> None:
    url = f"redis://127.0.0.1:{redis_server.port}/99"
    report = await readyz(url, clock)
    assert (report["store_status"], report["store_fault"]) == ("refuses", "DB")


@pytest.mark.parametrize("lacks", ["eval", "publish", "get", "mget", "unlink"])
async def test_check_and_readyz_report_each_right_that_is_missing(
    tmp_path: Path, backend: str, fragile_redis: RedisServer, clock: HandClock, lacks: str
) -> None:
    allowed = ("+@all", "-eval", "-evalsha") if lacks == "eval" else ("+@all", f"-{lacks}")
    with fragile_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">word", "~*", "&*", *allowed)
    url = f"redis://poor:word@127.0.0.1:{fragile_redis.port}/0"
    code, said = await check(tmp_path, backend, url)
    report = await readyz(url, clock)
    assert (code, "does not give this user the rights" in said) == (1, True)
    assert (report["store_status"], report["store_fault"]) == ("refuses", "NOPERM")


async def test_readyz_names_a_redis_that_is_full(fragile_redis: RedisServer, clock: HandClock) -> None:
    async with serving(settings(redis_url=fragile_redis.url), sandbox(clock), clock) as service:
        with fragile_redis.client() as client:
            client.config_set("maxmemory", "1")
        report = (await service.http.get(f"{service.url}/readyz")).json()
    assert (report["status"], report["store_fault"]) == ("degraded", "OOM")


async def test_check_reports_missing_redis_rights_and_wrong_passwords(
    tmp_path: Path, backend: str, fragile_redis: RedisServer
) -> None:
    with fragile_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">word", "~*", "&*", "+@all", "-set")
    address = f"127.0.0.1:{fragile_redis.port}"
    _, rights = await check(tmp_path, backend, f"redis://poor:word@{address}/0")
    _, password = await check(tmp_path, backend, f"redis://poor:wrong@{address}/0")
    assert f"Redis at {address} does not give this user the rights" in rights
    assert f"Redis at {address} does not accept the user or the password" in password
    assert "word" not in rights.replace("password", "")


@pytest.mark.parametrize(
    ("server_password", "user", "fault", "words"),
    [
        ("right", "", "NOAUTH", "requires a user and a password"),
        ("right", ":wrong@", "WRONGPASS", "does not accept the user or the password"),
        (None, ":wrong@", "WRONGPASS", "does not accept the user or the password"),
    ],
)
async def test_check_and_readyz_name_a_password_that_is_missing_or_wrong(  # noqa: PLR0913, PLR0917 - fixtures
    tmp_path: Path, backend: str, clock: HandClock, server_password: str | None, user: str, fault: str, words: str
) -> None:
    server = RedisServer(password=server_password)
    server.start()
    try:
        url = f"redis://{user}127.0.0.1:{server.port}/0?protocol=2"
        code, said = await check(tmp_path, backend, url)
        report = await readyz(url, clock)
    finally:
        server.close()
    assert (code, words in said) == (1, True)
    assert (report["store_status"], report["store_fault"]) == ("refuses", fault)


async def test_check_and_readyz_name_a_wrong_password_of_a_cluster(
    tmp_path: Path, backend: str, clock: HandClock
) -> None:
    node = RedisClusterNode()
    try:
        node.start()
        url = f"redis+cluster://:wrong@127.0.0.1:{node.port}"
        code, said = await check(tmp_path, backend, url)
        report = await readyz(url, clock)
    finally:
        node.close()
    assert (code, "does not accept the user or the password" in said) == (1, True)
    assert (report["store_status"], report["store_fault"]) == ("refuses", "WRONGPASS")


@pytest.mark.parametrize("url", ["redis://:12{}hidden@127.0.0.1:1/0", "redis://user:12{}34@hidden:6379/0"])
async def test_check_shows_no_part_of_a_password_that_cuts_the_url(tmp_path: Path, backend: str, url: str) -> None:
    for sign in "#/?":
        env = environment(redis_url=url.format(sign), secret_key=KEY, acedata_url=backend)
        ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
        said = ended.stdout + ended.stderr
        assert ended.returncode == 2
        assert "Percent-encode signs" in said
        assert "hidden" not in said
        assert "12" + sign not in said


async def test_check_shows_the_database_and_its_version(
    tmp_path: Path, backend: str, shared_postgres: PostgresServer
) -> None:
    file = f"{tmp_path}/luma.db"
    for url, place in (
        (f"sqlite:///{file}", f"SQLite at {file}"),
        (shared_postgres.url, "PostgreSQL at 127.0.0.1/luma"),
    ):
        env = environment(acedata_url=backend, database_url=url, secret_key=KEY)
        await asyncio.to_thread(run, "database", "upgrade", cwd=tmp_path, env=env)
        ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
        assert f"{place} answers, schema version {REVISIONS[-1]}" in ended.stdout
        assert "luma:luma" not in ended.stdout


async def test_check_makes_no_database_and_leaves_nothing_in_redis(
    tmp_path: Path, backend: str, redis_server: RedisServer
) -> None:
    file = tmp_path / "folder" / "luma.db"
    env = environment(acedata_url=backend, database_url=f"sqlite:///{file}", redis_url=redis_server.url, secret_key=KEY)
    ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    assert ended.returncode == 0, ended.stdout
    assert f"SQLite at {file} is made when the service starts" in ended.stdout
    assert not file.parent.exists()
    with redis_server.client() as client:
        assert client.keys() == []


async def test_check_needs_no_key_file_where_keys_of_teams_are_accepted(tmp_path: Path, backend: str) -> None:
    env = environment(acedata_url=backend, database_url=f"sqlite:///{tmp_path}/luma.db", auth="passthrough,keys")
    ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not (tmp_path / "luma.key").exists()


async def test_check_reports_a_folder_that_is_not_writable(tmp_path: Path, backend: str) -> None:
    (tmp_path / "no folder").touch()
    url = f"sqlite:///{tmp_path}/no folder/luma.db"
    env = environment(acedata_url=backend, database_url=url, secret_key=KEY)
    ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    assert ended.returncode == 1
    assert "cannot be created, because this user may not write to its folder" in ended.stdout


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("luma:luma@", "luma:wrong@"), "does not accept the user or the password"),
        (("/luma$", "/other"), "does not exist on that server"),
    ],
)
async def test_check_distinguishes_a_database_that_denies_access_from_an_outage(
    tmp_path: Path, backend: str, shared_postgres: PostgresServer, change: tuple[str, str], sentence: str
) -> None:
    url = re.sub(*change, shared_postgres.url)
    env = environment(acedata_url=backend, database_url=url, secret_key=KEY)
    ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    assert ended.returncode == 1
    assert sentence in ended.stdout
    assert "wrong" not in ended.stdout


async def test_check_reports_an_outage_of_the_database(tmp_path: Path, backend: str) -> None:
    env = environment(acedata_url=backend, database_url="postgresql://luma:hidden@127.0.0.1:1/luma", secret_key=KEY)
    ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    assert ended.returncode == 1
    assert "PostgreSQL at 127.0.0.1/luma does not answer" in ended.stdout
    assert "hidden" not in ended.stdout


async def test_check_reports_replicas_with_another_database(
    tmp_path: Path, backend: str, redis_server: RedisServer
) -> None:
    ends, urls = [], [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "other")]
    for url in urls:
        await asyncio.to_thread(run, "database", "upgrade", cwd=tmp_path, env=environment(database_url=url))
    async with serving(
        settings(acedata_url=backend, redis_url=redis_server.url, database_url=urls[0]), sandbox(HandClock())
    ):
        for url in urls:
            env = environment(acedata_url=backend, redis_url=redis_server.url, database_url=url, secret_key=KEY)
            ends.append(await asyncio.to_thread(run, "check", cwd=tmp_path, env=env))
    assert [ended.returncode for ended in ends] == [0, 1]
    assert "uses this Redis with another database" in ends[1].stdout


async def test_the_database_is_upgraded_by_hand(tmp_path: Path) -> None:
    env = environment(database_url=f"sqlite:///{tmp_path}/luma.db")
    for _ in range(2):
        ended = await asyncio.to_thread(run, "database", "upgrade", cwd=tmp_path, env=env)
        assert (ended.returncode, f"has schema version {REVISIONS[-1]}" in ended.stdout) == (0, True)


async def test_check_reports_a_backend_url_of_another_service(tmp_path: Path) -> None:
    async with listening(Starlette(exception_handlers={404: lambda *_: JSONResponse({}, 404)})) as other:
        ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=environment(acedata_url=other))
    assert ended.returncode == 1
    assert "is LUMA_MCP_ACEDATA_URL right?" in ended.stdout


async def test_readyz_distinguishes_a_redis_that_refuses_from_one_that_is_down(
    clock: HandClock, replica: RedisServer, fragile_redis: RedisServer
) -> None:
    seen = [await readyz(server.url, clock) for server in (fragile_redis, replica)]
    fragile_redis.stop()
    seen.append(await readyz(fragile_redis.url, clock))
    assert [answer["store_status"] for answer in seen] == ["up", "refuses", "down"]
    assert [answer["status"] for answer in seen] == ["ready", "degraded", "degraded"]
    assert [answer.get("store_fault") for answer in seen] == [None, "READONLY", None]


async def test_check_reports_whether_the_identity_provider_can_be_used(
    tmp_path: Path, backend: str, realm: Realm
) -> None:
    async def checked(**settings: str) -> tuple[int, str]:
        given = {"auth": "jwt", "public_url": "https://luma.example.com", "jwt_issuer": realm.issuer, **settings}
        database_url = f"sqlite:///{tmp_path}/luma.db"
        env = environment(acedata_url=backend, secret_key=KEY, **{"database_url": database_url, **given})
        ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
        [line] = [line for line in ended.stdout.splitlines() if line.startswith("identity provider")]
        return ended.returncode, line

    code, line = await checked()
    assert (code, "2 usable keys" in line) == (0, True)
    code, line = await checked(jwt_issuer=f"{realm.issuer}/")
    assert (code, "`issuer`" in line) == (1, True)
    realm.fail(status=502)
    code, line = await checked()
    assert (code, "502" in line) == (1, True)
    code, line = await checked(jwt_issuer="http://127.0.0.1:1")
    assert (code, "cannot be reached" in line) == (1, True)


async def checked_login(tmp_path: Path, backend: str, **settings: str) -> tuple[int, str]:
    """Return the status of `check`, and its line about the login."""
    given = {
        "secret_key": KEY,
        "public_url": "https://luma.example.com",
        "database_url": f"sqlite:///{tmp_path}/luma.db",
    }
    env = environment(acedata_url=backend, **given | settings)
    ended = await asyncio.to_thread(run, "check", cwd=tmp_path, env=env)
    [line] = [line for line in ended.stdout.splitlines() if line.startswith("login")]
    return ended.returncode, line


async def test_check_tells_whether_people_can_sign_in_with_the_issuer(
    tmp_path: Path, backend: str, realm: Realm
) -> None:
    values = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    code, line = await checked_login(tmp_path, backend, **values)
    assert (code, "answers" in line, realm.issuer.partition("/realms")[0] in line) == (0, True, True)
    for faults, said in (
        ({"status": 502}, "502"),
        ({"metadata": {"issuer": "https://another.example"}}, "`issuer`"),
        ({"metadata": {"token_endpoint": None}}, "token_endpoint"),
        ({"keys": "[]"}, "key"),
    ):
        realm.fail(**faults)
        code, line = await checked_login(tmp_path, backend, **values)
        assert (code, said in line) == (1, True), line
    code, line = await checked_login(tmp_path, backend, **values | {"oidc_issuer": "http://127.0.0.1:1"})
    assert (code, "cannot be reached" in line) == (1, True)


async def test_check_tells_whether_people_can_sign_in_with_acedatacloud(tmp_path: Path, backend: str) -> None:
    async with fake_acedata() as fake:
        urls = {"acedata_auth_url": fake.auth_url, "acedata_platform_url": fake.platform_url}
        values = {"sign_in": "acedata", "acedata_client_id": "luma", **urls}
        code, line = await checked_login(tmp_path, backend, **values)
        assert (code, "answers" in line, fake.auth_url in line) == (0, True, True)
        for name in urls:
            code, line = await checked_login(tmp_path, backend, **values | {name: "http://127.0.0.1:1"})
            assert (code, "does not answer" in line) == (1, True)
    code, line = await checked_login(tmp_path, backend, **values | {"secret_key": ""})
    assert (code, "not tried" in line) == (0, True)
