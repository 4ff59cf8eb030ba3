"""Refusals of /admin/v1: malformed requests, too many requests, and outages."""

import asyncio
import json
import logging
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from app.domain.access import PASSTHROUGH_SCOPES, Principal, Scope
from app.ports.auth import Caller
from app.services.limits.admin_limits import MAX_CHANGES, MAX_READS, AdminLimits
from app.services.teams.administration import MAX_CREDENTIALS, TeamAdmin, TeamAdministration
from app.services.teams.budget_administration import BudgetAdministration
from app.services.teams.invitations import InvitationAdministration
from app.services.teams.limit_administration import LimitAdministration
from app.web.admin.bodies import NewKey
from app.web.admin.endpoint import AdminEndpoint
from app.web.admin.operations import OPERATIONS
from app.web.admin.request_input import MAX_BODY_BYTES
from app.web.middleware.bearer_auth import CALLER
from app.web.middleware.request_id import REQUEST_ID
from tests.support.administrator import NOBODY, OF_IDS, Administrator, administrator
from tests.support.clock import HandClock, while_time_passes
from tests.support.databases import empty_database
from tests.support.fleet import Fleet, running_fleet
from tests.support.postgres_server import PostgresServer

JSON = {"content-type": "application/json"}


async def test_a_malformed_id_is_not_found(root: Administrator, fleet: Fleet) -> None:
    for target in ("x", "%00", "%2e%2e", "a%2Fb", "'%20OR%201=1", "0123456789AB", "a" * 33, "%0a", "-1"):
        for method, path in [*OF_IDS, ("PUT", f"/budgets/{NOBODY}")]:
            await root.refused(404, method, path.replace(NOBODY, target))
            await while_time_passes(fleet.clock, fleet.clock.sleep(1))  # so that no rate limits them


UNUSABLE_BODIES: tuple[tuple[Any, str], ...] = (
    ({}, "member"),
    ([], "object"),
    ("anna", "object"),
    (None, "object"),
    (7, "object"),
    ({"member": 7}, "member: "),
    ({"member": ["anna"]}, "member: "),
    ({"member": ""}, "member: "),
    ({"member": "x" * 65}, "member: "),
    ({"member": " anna"}, "visible"),
    ({"member": "an\0na"}, "visible"),
    ({"member": "anna", "scopes": "read"}, "scopes: "),
    ({"member": "anna", "scopes": []}, "scopes: "),
    ({"member": "anna", "scopes": ["write"]}, "scopes: "),
    ({"member": "anna", "scopes": ["read"] * 4}, "scopes: "),
    ({"member": "anna", "expires": 30}, "expires: "),
    ({"member": "anna", "expires": "0"}, "expires: "),
    ({"member": "anna", "expires": "30"}, "expires: "),
    ({"member": "anna", "expires": "999999999d"}, "expires: "),
    ({"member": "anna", "note": "a\nb"}, "note: "),
    ({"member": "anna", "note": None}, "note: "),
    ({"member": "anna", "team": "ads"}, "not known"),
    ({"member": "anna", "is_stopped": False}, "not known"),
    ({"member": "anna", "id": NOBODY, "key": "lmk_x"}, "not known"),
    ({"member": "anna", "zebra-crossing": 1}, "member, scopes, expires, note"),
)


async def test_an_invalid_body_is_refused_without_quoting_it(root: Administrator, fleet: Fleet) -> None:
    await fleet.teams.member("film", "anna")
    for body, words in UNUSABLE_BODIES:
        said = await root.refused(422, "POST", "/keys", content=json.dumps(body), headers=JSON)
        assert words in said
        assert "zebra" not in said
    assert await root.changes() == []


NO_JSON: tuple[tuple[bytes, str, int], ...] = (
    (b'{"name": "anna"', "application/json", 400),
    (b"name=anna", "application/json", 400),
    (b'{"name": "\\ud800"}', "application/json", 400),
    (b'{"name": "\xff"}', "application/json", 400),
    (b'{"name": ' + b"[" * 10_000, "application/json", 400),
    (b'{"name": "anna"}', "text/plain", 415),
    (b"name=anna", "application/x-www-form-urlencoded", 415),
    (b'{"name": "anna"}', "", 415),
    (b'{"name": "' + b"a" * MAX_BODY_BYTES + b'"}', "application/json", 413),
)


async def test_a_body_that_is_not_json_is_refused(root: Administrator) -> None:
    for content, media_type, status in NO_JSON:
        headers = {"content-type": media_type} if media_type else {}
        await root.refused(status, "POST", "/members", content=content, headers=headers)
    assert [member["name"] for member in await root.ask("GET", "/members")] == ["root"]


async def test_an_action_without_a_body_takes_none(root: Administrator) -> None:
    await root.refused(422, "POST", "/stop", {"team": "ads"})
    assert (await root.ask("POST", "/stop", {}))["is_stopped"] is True


UNUSABLE_QUERIES = (
    ("/keys?limit=0", "limit: "),
    ("/keys?limit=1001", "limit: "),
    ("/keys?limit=1e3", "limit: "),
    ("/keys?after=x", "after: "),
    ("/keys?after=", "after: "),
    ("/keys?limit=2&limit=3", "twice"),
    ("/keys?team=ads", "not known"),
    ("/audit?after=-1", "after: "),
    ("/audit?after=99999999999999999999", "after: "),
    ("/audit?since=yesterday", "since: "),
    ("/audit?since=10000-01-01", "since: "),
    ("/audit?team_id=x", "not known"),
    ("/usage?by=team", "by: "),
    ("/usage?since=2026-13-01", "since: "),
    ("/usage?since=1999-12-31", "since: "),
    ("/team?x=1", "send none"),
)


async def test_an_invalid_query_is_refused_with_a_sentence(root: Administrator) -> None:
    for path, words in UNUSABLE_QUERIES:
        assert words in await root.refused(422, "GET", path)


async def test_a_budget_has_one_owner_and_a_whole_amount(root: Administrator) -> None:
    query = {"member": NOBODY, "key": root.key_id}
    await root.refused(422, "PUT", "/budgets/day", {"amount": "1"}, params=query)
    for amount in (25, 1.5, "-1", "1e3", "0x10", "99999999999", "1.1234567", None, True):
        assert "amount: " in await root.refused(422, "PUT", "/budgets/day", {"amount": amount})
    await root.ask("PUT", "/budgets/day", {"amount": "1"})
    for body in ({"by": "0", "until": "2999-12-30"}, {"by": "1", "until": "2999-12-32"}, {"by": "1"}):
        await root.refused(422, "POST", "/budgets/day/raise", body)
    assert "over" in await root.refused(409, "POST", "/budgets/day/raise", {"by": "1", "until": "2000-01-01"})


async def test_a_limit_is_a_whole_number_above_zero(root: Administrator) -> None:
    for most in (0, -1, 1.5, "5", True, 10**7):
        said = await root.refused(422, "PATCH", "/limits", {"calls_per_minute": most})
        assert "calls_per_minute: " in said
    for body in ({}, {"calls_per_minute": None}, {"team": 5}):
        await root.refused(422, "PATCH", "/limits", body)
    assert "kind: " in await root.refused(422, "DELETE", "/limits", params={"kind": "all"})
    await root.refused(404, "DELETE", "/limits")


async def test_settings_for_operators_only_cannot_be_changed_over_http(root: Administrator) -> None:
    unwanted: list[dict[str, Any]] = [{"allows_foreign_ids": True}, {"name": "ads"}, {"is_stopped": False}]
    for body in (*unwanted, {}, {"timezone": "x"}):
        await root.refused(422, "PATCH", "/team", body)
    await root.refused(404, "GET", "/teams")
    await root.refused(404, "POST", "/teams", {"name": "mine"})
    assert await root.changes() == []


async def test_refusals_and_logs_contain_no_secret(
    root: Administrator, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for body in (
        {"backend": "acedata", "secret": "hidden secret"},
        {"backend": "acedata", "secret": ["hidden"]},
        {"backend": "acedata", "hidden": "hidden"},
        {"backend": "acedata", "secret": "hidden" * 1000},
        {"backend": 7, "secret": "hidden"},
    ):
        assert "hidden" not in await root.refused(422, "POST", "/credentials", body)
    assert "acedata" in await root.refused(409, "POST", "/credentials", {"backend": "other", "secret": "hidden"})
    await root.ask("POST", "/credentials", {"backend": "acedata", "secret": "hidden-for-good"})
    created = await root.ask("POST", "/keys", {"member": "root"})
    told = "".join(capfd.readouterr()) + caplog.text
    assert "create_key" in told
    assert not any(secret in told for secret in ("hidden", created["key"], root.key))


async def test_an_existing_name_is_a_conflict(root: Administrator) -> None:
    assert "already" in await root.refused(409, "POST", "/members", {"name": "root"})


async def test_the_number_of_credentials_is_bounded(fleet: Fleet, root: Administrator) -> None:
    for number in range(MAX_CREDENTIALS - 1):
        await fleet.teams.credential("film", f"token-{number}")
    body = {"backend": "acedata", "secret": "one-too-many"}
    assert str(MAX_CREDENTIALS) in await root.refused(409, "POST", "/credentials", body)


async def test_another_host_or_origin_is_refused(root: Administrator) -> None:
    await root.refused(421, "POST", "/stop", headers={"host": "evil.example.com"})
    await root.refused(403, "POST", "/stop", headers={"origin": "https://evil.example.com"})
    preflight = await root.send(
        "OPTIONS", "/stop", headers={"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    )
    assert "access-control-allow-origin" not in preflight.headers
    assert (await root.ask("GET", "/team"))["is_stopped"] is False


async def test_unknown_paths_and_methods_are_problems(root: Administrator) -> None:
    for path in ("", "/", "/nothing", "/keys/", f"/keys/{NOBODY}", "/team/members"):
        await root.refused(404, "GET", path)
    response = await root.send("DELETE", "/keys")
    assert response.status_code == 405
    assert {"GET", "POST"} <= {name.strip() for name in response.headers["allow"].split(",")}
    assert (await root.send("HEAD", "/team")).status_code == 200


async def test_the_rate_of_administrative_requests_is_limited_for_each_team(fleet: Fleet, root: Administrator) -> None:
    carl = await administrator(fleet, "ads", "carl")
    for method, path, most in (("GET", "/team", MAX_READS), ("POST", "/stop", MAX_CHANGES)):
        for _ in range(most):
            await root.ask(method, path)
        response = await root.send(method, path)
        assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
        assert await carl.ask(method, path)
        fleet.clock.advance(float(response.headers["retry-after"]))
        await fleet.settle()
        assert await root.ask(method, path)


async def test_an_outage_of_the_database_is_503_with_a_sentence(
    clock: HandClock, fragile_postgres: PostgresServer
) -> None:
    async with running_fleet(clock, await empty_database(fragile_postgres), admin="on") as fleet:
        root = await administrator(fleet)
        await root.ask("GET", "/team")
        fragile_postgres.stop()
        for method, path in (("GET", "/team"), ("POST", "/stop")):
            response = await root.send(method, path)
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert "look before you repeat" in response.json()["detail"]


async def test_an_unexpected_exception_is_500_without_its_message(capfd: pytest.CaptureFixture[str]) -> None:
    class Faulty(TeamAdministration):
        async def admin(self, principal: Principal, request_id: str) -> TeamAdmin:
            raise RuntimeError("hidden")

    answered: list[tuple[str, int]] = []
    teams = Faulty(cast("Any", None), cast("Any", None), cast("Any", None), ())
    budgets = BudgetAdministration(cast("Any", None), cast("Any", None), None)
    rate_limits, limits = LimitAdministration(cast("Any", None)), AdminLimits(HandClock())
    invitations = InvitationAdministration(cast("Any", None), cast("Any", None))
    endpoint = AdminEndpoint(
        teams, invitations, budgets, rate_limits, limits, lambda name, status: answered.append((name, status))
    )
    principal = Principal("anna", "film", key=NOBODY, scopes=frozenset(Scope))
    app = Starlette(routes=endpoint.routes(OPERATIONS))

    async def called(scope: ASGIScope, receive: Receive, send: Send) -> None:
        await app({**scope, CALLER: Caller(principal, cast("Any", None)), REQUEST_ID: "req"}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(called), base_url="http://127.0.0.1") as http:
        response = await http.post("/admin/v1/stop")
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert answered == [("stop_team", 500)]
    assert "hidden" not in response.text + capfd.readouterr().err


async def test_an_incomplete_request_changes_nothing(fleet: Fleet, root: Administrator) -> None:
    head = (
        f"POST /admin/v1/stop HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {root.key}\r\n"
        "content-length: 2\r\ncontent-type: application/json\r\n\r\n"
    )
    _reader, writer = await asyncio.open_connection("127.0.0.1", int(fleet.one.url.rpartition(":")[2]))
    writer.write(head.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await fleet.settle()
    assert (await root.ask("GET", "/team"))["is_stopped"] is False


def test_the_scopes_of_a_new_key_are_those_of_the_command_line() -> None:
    assert set(NewKey(member="anna").scopes) == PASSTHROUGH_SCOPES
