"""Webhooks: signatures of the Standard Webhooks specification, and errors of receivers."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import httpx
import pytest

from app.adapters.vault import Vault
from app.adapters.webhook import WebhookSender
from app.adapters.webhook_signature import PURPOSE, signing_secrets
from app.ports.alerts import BudgetAlert, NotDelivered
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
