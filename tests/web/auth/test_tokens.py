"""Tokens over HTTP: repeated and concurrent refreshes, revocation, expiry, and ended logins."""

import asyncio

import httpx
import pytest

from app.adapters.sql.directory import sql_directory
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.oauth import written_oauth_scopes
from app.services.sign_in.liveness import CHECK_INTERVAL_SECONDS
from tests.support.acedata_login import FakeAceData
from tests.support.clock import HandClock, while_time_passes
from tests.support.databases import empty_database
from tests.support.oauth import Browser, Client, Page, SignInFleet, sign_in_fleet
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.service import MODERN, envelope

DAY = 86_400.0


def refused(response: httpx.Response) -> str:
    """Return the error of a refused request."""
    assert response.status_code in (400, 401, 503), response.text
    assert response.headers["cache-control"] == "no-store"
    error: str = response.json()["error"]
    return error


async def actions(fleet: SignInFleet) -> list[str]:
    log = sql_directory(fleet.one.assembly.persistence.database, fleet.clock.sql).audit
    return [entry.action for entry in await log.entries(100)]


async def counted(fleet: SignInFleet, name: str) -> dict[str, float]:
    """Return the values of a counter by their labels."""
    metrics = (await fleet.one.http.get(f"{fleet.one.url}/metrics")).text
    lines = (line.rpartition(" ") for line in metrics.splitlines() if line.startswith(f"luma_mcp_{name}_total"))
    return {labels.partition("{")[2].rstrip("}"): float(value) for labels, _, value in lines}


async def test_a_refresh_returns_new_tokens_and_the_old_access_token_stays_valid(
    pair: SignInFleet, browser: Browser
) -> None:
    client = await pair.registered()
    first = await client.connect(browser)
    second = (await client.refresh(first["refresh_token"])).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert second["scope"] == written_oauth_scopes(PASSTHROUGH_SCOPES)
    for tokens in (first, second):
        assert [await pair.status(tokens["access_token"], number) for number in (0, 1)] == [200, 200]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_twenty_refreshes_at_once_agree(
    kind: str, clock: HandClock, acedata: FakeAceData, database_url: str, shared_postgres: PostgresServer
) -> None:
    url = database_url if kind == "sqlite" else await empty_database(shared_postgres)
    async with sign_in_fleet(clock, acedata, replicas=2, database_url=url) as fleet:
        client = await fleet.registered()
        tokens = await client.connect(await fleet.browser())
        refreshes = []
        for number in range(20):
            fleet.use(number % 2)
            refreshes.append(asyncio.create_task(client.refresh(tokens["refresh_token"])))
        answers = [answer.json() for answer in await asyncio.gather(*refreshes)]
        assert len({answer["refresh_token"] for answer in answers}) == 1
        assert len({answer["access_token"] for answer in answers}) == 1
        assert [await fleet.status(answers[0]["access_token"], number) for number in (0, 1)] == [200, 200]


async def test_a_repeated_refresh_returns_the_same_refresh_token_until_that_is_used(
    fleet: SignInFleet, browser: Browser
) -> None:
    client = await fleet.registered()
    first = await client.connect(browser)
    second = (await client.refresh(first["refresh_token"])).json()
    fleet.clock.advance(2 * 3600)
    await fleet.settle()
    again = (await client.refresh(first["refresh_token"])).json()
    assert again["refresh_token"] == second["refresh_token"]
    assert await fleet.status(again["access_token"]) == 200, "its time begins anew"


async def test_a_replay_after_the_grace_ends_the_grant_and_is_audited(pair: SignInFleet, browser: Browser) -> None:
    client = await pair.registered()
    first = await client.connect(browser)
    second = (await client.refresh(first["refresh_token"])).json()
    assert await pair.status(second["access_token"]) == 200, "from here on the successor is in use"
    pair.clock.advance(60)
    assert (await client.refresh(first["refresh_token"])).json()["refresh_token"] == second["refresh_token"]
    pair.clock.advance(1)
    assert refused(await client.refresh(first["refresh_token"])) == "invalid_grant"
    assert refused(await client.refresh(second["refresh_token"])) == "invalid_grant"
    await pair.settle()
    for access in (first["access_token"], second["access_token"]):
        assert [await pair.status(access, number) for number in (0, 1)] == [401, 401]
    assert (await actions(pair)).count("grant.revoke") == 1
    assert await counted(pair, "sign_in_grants_ended") == {'reason="replay"': 1.0}
    assert (await counted(pair, "sign_in_refreshes"))['outcome="replayed"'] == 1.0


async def test_registrations_and_grants_are_counted_by_method_and_family(fleet: SignInFleet, browser: Browser) -> None:
    await (await fleet.registered(client_name="Claude Code (luma)")).connect(browser)
    other = await fleet.registered(client_name="<script>")
    await other.connect(browser)
    assert await counted(fleet, "sign_in_clients") == {'method="dynamic"': 2.0}
    assert await counted(fleet, "sign_in_grants") == {
        'client="claude",method="dynamic"': 1.0,
        'client="other",method="dynamic"': 1.0,
    }


async def test_a_token_two_generations_old_is_a_replay_at_once(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    first = await client.connect(browser)
    second = (await client.refresh(first["refresh_token"])).json()
    third = (await client.refresh(second["refresh_token"])).json()
    assert refused(await client.refresh(first["refresh_token"])) == "invalid_grant"
    assert refused(await client.refresh(third["refresh_token"])) == "invalid_grant"


async def test_a_replay_ends_no_other_grant(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    mine, other = await client.connect(browser), await client.connect(browser)
    second = (await client.refresh(mine["refresh_token"])).json()
    await client.refresh(second["refresh_token"])
    await client.refresh(mine["refresh_token"])
    await fleet.settle()
    assert await fleet.status(mine["access_token"]) == 401
    assert await fleet.status(other["access_token"]) == 200


async def test_scopes_can_be_narrowed_and_never_widened(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    tokens = await client.connect(browser, scope="read")
    assert tokens["scope"] == "read"
    wider = (await client.refresh(tokens["refresh_token"], scope="read generate")).json()
    assert wider["scope"] == "read"
    full = await client.connect(browser)
    narrow = (await client.refresh(full["refresh_token"], scope="read")).json()
    assert narrow["scope"] == "read"
    await fleet.lacks_scope("luma_generate_video", {"prompt": "A fox"}, narrow["access_token"])
    assert (await client.refresh(narrow["refresh_token"])).json()["scope"] == "read generate"


async def test_a_sign_in_for_the_read_only_url_grants_no_more_than_reading(
    fleet: SignInFleet, browser: Browser
) -> None:
    read_only = f"{fleet.issuer}/mcp/readonly"
    client = await fleet.registered()
    page = await browser.open(client.url(resource=f"{read_only}/", scope="read generate"))
    assert isinstance(page, Page)
    assert "Make videos" not in page.text
    tokens = await client.connect(browser, resource=read_only, scope="read generate")
    assert tokens["scope"] == "read"
    await fleet.lacks_scope("luma_generate_video", {"prompt": "A fox"}, tokens["access_token"])
    wider = (await client.refresh(tokens["refresh_token"], resource=f"{fleet.issuer}/mcp")).json()
    assert wider["scope"] == "read"
    full = await client.code(browser)
    narrow = (await client.exchange(full, resource=read_only)).json()
    assert narrow["scope"] == "read", "each token is for the resource that it was asked for"
    assert (await client.refresh(narrow["refresh_token"])).json()["scope"] == "read generate"
    only_spends = await client.connect(browser, scope="generate")
    refused_there = await client.refresh(only_spends["refresh_token"], resource=read_only)
    assert refused(refused_there) == "invalid_scope"


async def test_a_token_without_reading_is_asked_for_it_at_the_read_only_url(
    fleet: SignInFleet, browser: Browser
) -> None:
    tokens = await (await fleet.registered()).connect(browser, scope="generate")
    for name, wanted in (("luma_list_tasks", 403), ("luma_generate_video", 403), ("luma_get_task", 403)):
        message, headers = envelope("tools/call", {"name": name, "arguments": {}}, MODERN)
        sent = {**headers, "authorization": f"Bearer {tokens['access_token']}", "accept": "application/json"}
        response = await fleet.http.post(f"{fleet.issuer}/mcp/readonly", json=message, headers=sent)
        assert response.status_code == wanted
        challenge = response.headers["www-authenticate"]
        assert 'scope="read"' in challenge, "generate is no scope of this URL"
        assert "oauth-protected-resource/mcp/readonly" in challenge


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_client_revokes_its_own_grant_alone(pair: SignInFleet, browser: Browser, kind: str) -> None:
    client, other = await pair.registered(), await pair.registered(client_name="Other")
    mine, theirs = await client.connect(browser), await other.connect(browser)
    assert [await pair.status(mine["access_token"], number) for number in (0, 1)] == [200, 200]
    assert (
        await other.http.post(f"{pair.issuer}/revoke", data={"token": mine[kind], "client_id": other.client_id})
    ).status_code == 200
    assert await pair.status(mine["access_token"]) == 200, "another client's token"
    response = await client.http.post(
        f"{pair.issuer}/revoke", data={"token": mine[kind], "client_id": client.client_id}
    )
    assert response.status_code == 200
    await pair.settle()
    assert [await pair.status(mine["access_token"], number) for number in (0, 1)] == [401, 401]
    assert refused(await client.refresh(mine["refresh_token"])) == "invalid_grant"
    assert await pair.status(theirs["access_token"], 1) == 200
    assert (await other.refresh(theirs["refresh_token"])).status_code == 200


async def test_tokens_expire(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    tokens = await client.connect(browser)
    assert await fleet.status(tokens["access_token"]) == 200
    fleet.clock.advance(3600)
    await fleet.settle()
    assert await fleet.status(tokens["access_token"]) == 401
    tokens = (await client.refresh(tokens["refresh_token"])).json()
    fleet.clock.advance(30 * DAY)
    assert refused(await client.refresh(tokens["refresh_token"])) == "invalid_grant"


async def test_a_grant_ends_after_half_a_year_however_often_it_was_refreshed(
    fleet: SignInFleet, browser: Browser
) -> None:
    client = await fleet.registered()
    tokens = await client.connect(browser)
    for _ in range(8):
        fleet.clock.advance(20 * DAY)
        tokens = (await client.refresh(tokens["refresh_token"])).json()
    fleet.clock.advance(20 * DAY)
    assert refused(await client.refresh(tokens["refresh_token"])) == "invalid_grant"


@pytest.mark.parametrize("how", ["login", "credential"])
async def test_a_dead_login_ends_its_grants_at_the_next_refresh(fleet: SignInFleet, browser: Browser, how: str) -> None:
    client = await fleet.registered()
    one, other = await client.connect(browser), await client.connect(browser)
    if how == "login":
        fleet.acedata.sign_out_everywhere()
    else:
        fleet.acedata.credentials.clear()
    fleet.clock.advance(CHECK_INTERVAL_SECONDS)
    assert refused(await client.refresh(one["refresh_token"])) == "invalid_grant"
    await fleet.settle()
    assert [await fleet.status(tokens["access_token"]) for tokens in (one, other)] == [401, 401]
    again = await client.connect(browser)
    assert await fleet.status(again["access_token"]) == 200, "signing in again repairs it"
    assert len(fleet.acedata.authorized) == 2


@pytest.mark.parametrize("doubt", ["is_down", "lists_none"])
async def test_an_upstream_login_that_cannot_tell_ends_no_grant(
    fleet: SignInFleet, browser: Browser, doubt: str
) -> None:
    client = await fleet.registered()
    tokens = await client.connect(browser)
    setattr(fleet.acedata.doubts, doubt, True)
    fleet.clock.advance(20 * DAY)  # the login's access token has ended as well
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_login_is_renewed_while_it_is_used(fleet: SignInFleet, browser: Browser) -> None:
    client = await fleet.registered()
    tokens = await client.connect(browser)
    for _ in range(3):
        fleet.clock.advance(14.99 * DAY)
        await fleet.settle()
        tokens = (await client.refresh(tokens["refresh_token"])).json()
        assert await fleet.status(tokens["access_token"]) == 200
    assert len(fleet.acedata.refresh_tokens) == 1


async def test_redis_emptied_leaves_clients_signed_in(
    clock: HandClock, acedata: FakeAceData, redis_server: RedisServer, database_url: str
) -> None:
    async with sign_in_fleet(clock, acedata, redis_url=redis_server.url, database_url=database_url) as fleet:
        client = await fleet.registered()
        tokens = await client.connect(await fleet.browser())
        redis_server.flush_all()
        assert await fleet.status(tokens["access_token"]) == 200
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_tokens_survive_a_restart_and_a_rotation_of_the_secret_key(
    clock: HandClock, acedata: FakeAceData, database_url: str
) -> None:
    old, new = "an old key for tests of 48 bytes or more of text 0", "a new key for tests of 48 bytes or more of text 1"
    tokens: dict[str, str] = {}
    client: Client | None = None
    for keys in (old, f"{old},{new}", f"{new},{old}", new):
        async with sign_in_fleet(clock, acedata, database_url=database_url, secret_key=keys) as fleet:
            if client is None:
                client = await fleet.registered()
                tokens = await client.connect(await fleet.browser())
            here = fleet.client(client_id=client.client_id)
            assert await fleet.status(tokens["access_token"]) == 200
            tokens = (await here.refresh(tokens["refresh_token"])).json()
            assert await fleet.status(tokens["access_token"]) == 200


@pytest.mark.parametrize(
    "body",
    [b'{"jsonrpc":"2.0","id":1,"method":{}}', b'{"jsonrpc":"2.0","id":1', b"1" * 5_000, b"\xff", b"[" * 9_000, b"3"],
    ids=["a method that is an object", "cut", "a long number", "no text", "nested", "a number"],
)
async def test_a_message_that_is_no_request_is_refused_whatever_the_tokens_scopes(
    fleet: SignInFleet, browser: Browser, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    token = (await (await fleet.registered()).connect(browser, scope="read"))["access_token"]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    refused = await fleet.http.post(f"{fleet.issuer}/mcp", content=body, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) in [(400, code) for code in (-32600, -32602, -32700)]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_backend_that_refuses_a_deleted_credential_ends_the_grant_within_seconds(
    fleet: SignInFleet, browser: Browser
) -> None:
    tokens = await (await fleet.registered()).connect(browser)
    assert await fleet.status(tokens["access_token"]) == 200
    sign_in = fleet.one.assembly.sign_in
    assert sign_in is not None
    [person] = await sign_in.store.people.all_sealed(10, "")
    fleet.acedata.credentials.clear()
    fleet.clock.advance(60)
    await fleet.settle()
    fleet.one.assembly.token_status.refuse(person.id)
    assert await fleet.status(tokens["access_token"]) == 200
    await while_time_passes(fleet.clock, fleet.clock.sleep(6.0), step=0.5)
    assert await fleet.status(tokens["access_token"]) == 401
