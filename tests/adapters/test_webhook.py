"""Webhooks: signatures of the Standard Webhooks specification, and errors of receivers."""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.adapters.auth.resolver import PLACES, Resolver
from app.adapters.checked_network import CheckedTransport
from app.adapters.vault import Vault
from app.adapters.webhook import WebhookSender
from app.adapters.webhook_signature import PURPOSE, signing_secrets
from app.ports.alerts import BudgetAlert, NotDelivered
from tests.support.certificates import server_context
from tests.support.eventually import eventually
from tests.support.raw_http import raw_server
from tests.support.service import KEY

TEAM = "team"
URL = "https://hooks.example.org/services/a-secret"
OTHER_KEY = "another-secret-key-of-the-service-4711"
Answer = Callable[[httpx.Request], httpx.Response]


def alert(sealed: str | None = None) -> BudgetAlert:
    sealed = sealed or Vault(KEY).seal(PURPOSE, URL.encode(), TEAM)
    return BudgetAlert(7, TEAM, 80, {"team": "film", "percent": 80}, sealed, created_at=1_770_000_000.0, attempts=1)


def sender(answer: Answer, *keys: str) -> WebhookSender:
    keys = keys or (KEY,)
    return WebhookSender(Vault(*keys), keys, lambda: 1_770_000_001.5, httpx.MockTransport(answer))


def is_accepted(request: httpx.Request, secret: str) -> bool:
    """Verify a signature as the specification defines it."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.content
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in request.headers["webhook-signature"].split(" ")


async def test_an_alert_is_posted_with_a_signature_under_every_secret_key() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    await sender(answer, KEY, OTHER_KEY).send(alert())
    [request] = seen
    assert (request.method, str(request.url)) == ("POST", URL)
    assert json.loads(request.content) == {
        "type": "budget.threshold",
        "timestamp": "2026-02-02T02:40:00Z",
        "data": {"team": "film", "percent": 80},
    }
    assert request.headers["webhook-timestamp"] == "1770000001"
    for secret in signing_secrets(TEAM, (KEY, OTHER_KEY)):
        assert is_accepted(request, secret)
    [foreign] = signing_secrets("other", (KEY,))
    assert not is_accepted(request, foreign)


async def test_all_attempts_to_send_an_alert_have_the_same_id() -> None:
    ids: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        ids.append(request.headers["webhook-id"])
        return httpx.Response(200)

    for _ in range(2):
        await sender(answer).send(alert())
    assert ids[0] == ids[1]


@pytest.mark.parametrize("status", [199, 301, 307, 400, 404, 429, 500])
async def test_a_status_other_than_success_is_not_delivered_and_not_followed(status: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(status, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(NotDelivered, match=str(status)):
        await sender(answer).send(alert())
    assert asked == [URL]


@pytest.mark.parametrize("fault", [httpx.ConnectError("no"), httpx.ReadTimeout("late"), OSError("down")])
async def test_a_receiver_that_is_down_is_not_delivered(fault: Exception) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise fault

    with pytest.raises(NotDelivered) as caught:
        await sender(answer).send(alert())
    assert "a-secret" not in str(caught.value)


async def test_a_url_sealed_for_another_team_or_key_is_not_used() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing may be sent")

    for sealed in (Vault(KEY).seal(PURPOSE, URL.encode(), "other"), Vault(OTHER_KEY).seal(PURPOSE, URL.encode(), TEAM)):
        with pytest.raises(NotDelivered):
            await sender(answer).send(alert(sealed))


def over_the_network(resolver: Resolver | None = None) -> WebhookSender:
    return WebhookSender(Vault(KEY), (KEY,), lambda: 1_770_000_001.5, resolver=resolver)


def alert_to(url: str, team: str = TEAM) -> BudgetAlert:
    sealed = Vault(KEY).seal(PURPOSE, url.encode(), team)
    return BudgetAlert(7, team, 80, {"percent": 80}, sealed, created_at=1_770_000_000.0, attempts=1)


@asynccontextmanager
async def receiver(**options: Any) -> AsyncIterator[tuple[int, list[Any]]]:
    """Yield the port of a receiver on 127.0.0.1 that accepts every alert, and the bodies that it got."""
    got: list[Any] = []

    async def accept(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        got.append(body)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with raw_server(accept, **options) as server:
        yield int(server.url.rpartition(":")[2]), got


async def test_an_alert_needs_none_of_the_event_loops_threads() -> None:
    """They resolve the backend's name, and a name whose server is silent would hold them."""
    may_end = threading.Event()
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    loop.set_default_executor(threads)
    held = loop.run_in_executor(None, may_end.wait, 20)
    try:
        async with receiver() as (port, got):
            await over_the_network().send(alert_to(f"http://localhost:{port}/x"))
            assert [body["data"] for body in got] == [{"percent": 80}]
    finally:
        may_end.set()
        await held


async def test_silent_names_of_one_team_hold_up_no_other_teams_alerts() -> None:
    may_end, asked = threading.Event(), list[str]()

    def look_up(host: str, _port: int) -> list[str]:
        asked.append(host)
        if host != "quick.example.org":
            may_end.wait(20)
        return ["127.0.0.1"]

    sender = over_the_network(Resolver(look_up))
    async with receiver() as (port, got):
        stuck = [
            asyncio.create_task(sender.send(alert_to(f"http://h{number}.silent-{number}.com:{port}/x", "many")))
            for number in range(PLACES.places)
        ]
        await eventually(lambda: len(asked) == PLACES.per_tenant)
        await sender.send(alert_to(f"http://quick.example.org:{port}/x", "other"))
        assert len(asked) == PLACES.per_tenant + 1
        for one in stuck[: PLACES.per_tenant]:
            one.cancel()
            with suppress(asyncio.CancelledError):
                await one
        await sender.send(alert_to(f"http://quick.example.org:{port}/x", "other"))
        assert len(asked) == PLACES.per_tenant + 2, "a thread keeps its place after its alert was given up"
        may_end.set()
        await asyncio.gather(*stuck[PLACES.per_tenant :])
        assert len(got) == PLACES.places


async def test_the_next_address_of_a_receiver_is_tried() -> None:
    async with receiver() as (port, got):
        sender = over_the_network(Resolver(lambda _host, _port: ["127.0.0.9", "127.0.0.1"]))
        await sender.send(alert_to(f"http://hooks.example.org:{port}/x"))
        assert len(got) == 1


@pytest.mark.parametrize("addresses", [[], ["127.0.0.9"], ["no address"]])
async def test_a_name_that_leads_nowhere_is_not_delivered(addresses: list[str]) -> None:
    async with receiver() as (port, _):
        with pytest.raises(NotDelivered, match="does not answer"):
            await over_the_network(Resolver(lambda _host, _port: addresses)).send(alert_to(f"http://a.org:{port}/x"))


async def test_the_certificate_is_checked_for_the_name_and_not_the_address(tmp_path: Path) -> None:
    tls, authority = server_context(tmp_path)
    resolver = Resolver(lambda _host, _port: ["127.0.0.1"])
    async with receiver(tls=tls) as (port, got):

        async def post(host: str) -> int:
            network = CheckedTransport(resolve=resolver, verify=ssl.create_default_context(cafile=authority))
            async with httpx.AsyncClient(transport=network) as http:
                return (await http.post(f"https://{host}:{port}/x", json={})).status_code

        assert await post("localhost") == 204
        with pytest.raises(httpx.ConnectError):
            await post("other.example.org")
        assert len(got) == 1
