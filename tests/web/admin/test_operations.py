"""The operations of /admin/v1, over HTTP, on two replicas."""

import logging
from typing import Any

import pytest

from app.domain.api_key_format import is_well_formed
from tests.support.administrator import Administrator
from tests.support.fleet import Fleet

LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


async def status_of(fleet: Fleet, key: str) -> list[int]:
    """Return the HTTP status of a call with a key on each replica, once both have seen what has changed.

    A replica answers 503 after the clock has leapt, until it has looked again.
    """
    told: list[int] = []
    for _ in range(20):
        await fleet.settle()
        told = [(await service.post(LIST_TOOLS, token=key)).status_code for service in (fleet.one, fleet.other)]
        if 503 not in told:
            break
    return told


async def spending(fleet: Fleet, key: str) -> list[str]:
    """Return how each replica answers a call that spends."""
    await fleet.settle()
    told = []
    for service in (fleet.one, fleet.other):
        answer = await service.call("luma_generate_video", {"prompt": "A fox"}, token=key)
        result = answer["structuredContent"]["result"]
        told.append(result["error"]["code"] if answer["isError"] else result["state"])
    return told


async def test_the_team_is_shown_with_its_members_and_credentials(root: Administrator) -> None:
    team = await root.ask("GET", "/team")
    assert (team["name"], team["timezone"], team["is_stopped"]) == ("film", "UTC", False)
    assert [member["name"] for member in team["members"]] == ["root"]
    assert [credential["backend"] for credential in team["credentials"]] == ["acedata"]
    assert "token-film" not in str(team)


async def test_only_the_named_settings_of_the_team_are_changed(root: Administrator) -> None:
    changed = await root.ask("PATCH", "/team", {"timezone": "Asia/Tokyo"})
    assert (changed["timezone"], changed["members_see_all"]) == ("Asia/Tokyo", True)
    changed = await root.ask("PATCH", "/team", {"members_see_all": False})
    assert (changed["timezone"], changed["members_see_all"]) == ("Asia/Tokyo", False)
    for threshold, shown in (("1.19", "1.19"), ("never", None)):
        assert (await root.ask("PATCH", "/team", {"asks_above": threshold}))["asks_above"] == shown
    assert [entry.after for entry in await root.changes()] == [
        {"timezone": "Asia/Tokyo"},
        {"members_see_all": False},
        {"asks_above": "1.19"},
        {"asks_above": None},
    ]


async def test_members_are_added_listed_stopped_and_resumed(fleet: Fleet, root: Administrator) -> None:
    anna = await root.ask("POST", "/members", {"name": "anna/ä"})
    assert [member["name"] for member in await root.ask("GET", "/members")] == ["anna/ä", "root"]
    key = await fleet.teams.key("film", "anna/ä")
    for verb, told in (("stop", ["stopped"] * 2), ("resume", ["pending"] * 2)):
        member = await root.ask("POST", f"/members/{anna['id']}/{verb}")
        assert (member["id"], member["is_stopped"]) == (anna["id"], verb == "stop")
        assert await spending(fleet, key) == told
    assert [entry.action for entry in await root.changes()] == ["member.add", "member.stop", "member.resume"]


async def test_the_team_is_stopped_and_resumed_by_the_same_key(fleet: Fleet, root: Administrator) -> None:
    anna = await fleet.teams.member("film", "anna")
    assert (await root.ask("POST", "/stop"))["is_stopped"] is True
    assert await spending(fleet, anna) == ["stopped"] * 2
    assert (await root.ask("POST", "/resume", on=fleet.other))["is_stopped"] is False
    assert await spending(fleet, anna) == ["pending"] * 2


async def test_a_key_is_created_once_and_works_on_every_replica(fleet: Fleet, root: Administrator) -> None:
    await root.ask("POST", "/members", {"name": "anna"})
    wanted = {"member": "anna", "scopes": ["generate", "read"], "expires": "30d", "note": "Anna's laptop"}
    response = await root.send("POST", "/keys", wanted, headers={"x-request-id": "req-17"})
    created = response.json()
    assert response.status_code == 201
    assert response.headers["x-request-id"] == "req-17"
    assert set(created) == {"id", "key", "team", "member", "scopes", "expires_at"}
    assert is_well_formed(created["key"])
    assert created["scopes"] == ["read", "generate"]
    assert await status_of(fleet, created["key"]) == [200, 200]
    listed = {key["id"]: key for key in await root.ask("GET", "/keys")}
    assert (listed[created["id"]]["note"], listed[created["id"]]["state"]) == ("Anna's laptop", "active")
    assert created["key"] not in str(listed)
    entry = (await root.changes())[-1]
    assert (entry.action, entry.key_id, entry.request_id) == ("key.create", created["id"], "req-17")


async def test_changes_are_logged_and_counted(
    fleet: Fleet, root: Administrator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.web.admin")
    await root.ask("POST", "/stop", headers={"x-request-id": "req-23"})
    await root.refused(409, "POST", "/members", {"name": "root"})
    [told] = [record.getMessage() for record in caplog.records if record.name == "app.web.admin.endpoint"]
    assert all(word in told for word in ("stop_team", root.key_id, "req-23", "200"))
    metrics = fleet.one.assembly.metrics.exposition().decode()
    for operation, status in (("stop_team", 200), ("add_member", 409)):
        assert f'luma_mcp_admin_requests_total{{operation="{operation}",status="{status}"}} 1.0' in metrics


async def test_a_key_by_default_reads_and_generates_and_does_not_expire(root: Administrator) -> None:
    created = await root.ask("POST", "/keys", {"member": "root"})
    assert (created["scopes"], created["expires_at"]) == (["read", "generate"], None)


@pytest.mark.parametrize(("verb", "undo"), [("revoke", None), ("block", "unblock")])
async def test_a_key_is_refused_on_every_replica_within_seconds(
    fleet: Fleet, root: Administrator, verb: str, undo: str | None
) -> None:
    anna = await fleet.teams.member("film", "anna")
    key_id = await fleet.teams.id_of(anna)
    assert await status_of(fleet, anna) == [200, 200]
    assert (await root.ask("POST", f"/keys/{key_id}/{verb}"))["state"] == f"{verb}ed".replace("ee", "e")
    assert await status_of(fleet, anna) == [401, 401]
    if undo is None:
        await root.refused(409, "POST", f"/keys/{key_id}/unblock")
    else:
        assert (await root.ask("POST", f"/keys/{key_id}/{undo}"))["state"] == "active"
        assert await status_of(fleet, anna) == [200, 200]


async def test_a_key_is_stopped_and_resumed(fleet: Fleet, root: Administrator) -> None:
    anna = await fleet.teams.member("film", "anna")
    key_id = await fleet.teams.id_of(anna)
    for verb, told in (("stop", ["stopped"] * 2), ("resume", ["pending"] * 2)):
        assert (await root.ask("POST", f"/keys/{key_id}/{verb}"))["is_stopped"] is (verb == "stop")
        assert await spending(fleet, anna) == told


async def test_a_key_is_rotated_with_a_grace(fleet: Fleet, root: Administrator) -> None:
    anna = await fleet.teams.member("film", "anna")
    key_id = await fleet.teams.id_of(anna)
    following = await root.ask("POST", f"/keys/{key_id}/rotate", {"grace": "1h"})
    assert [await status_of(fleet, key) for key in (anna, following["key"])] == [[200, 200]] * 2
    fleet.clock.advance(3600)
    assert await status_of(fleet, anna) == [401, 401]
    said = await root.refused(409, "POST", f"/keys/{key_id}/rotate")
    assert "expired" in said
    ended = await root.ask("POST", f"/keys/{following['id']}/rotate", {"grace": "0"})
    assert [await status_of(fleet, key) for key in (following["key"], ended["key"])] == [[401] * 2, [200] * 2]


async def test_keys_are_listed_in_pages_that_miss_none(root: Administrator, fleet: Fleet) -> None:
    made = [root.key_id] + [await fleet.teams.id_of(await fleet.teams.key("film", "root")) for _ in range(4)]
    seen: list[str] = []
    following: str | None = "?limit=2"
    while following is not None:
        response = await root.send("GET", f"/keys{following}")
        seen += [key["id"] for key in response.json()]
        following = response.links["next"]["url"] if "next" in response.links else None
    assert sorted(seen) == sorted(made)
    assert len(await root.ask("GET", "/keys")) == 5


async def test_a_credential_is_added_used_and_erased(fleet: Fleet, root: Administrator) -> None:
    [before] = await root.ask("GET", "/credentials")
    secret = "platform-v1-0123456789abcdef0123456789"
    response = await root.send("POST", "/credentials", {"backend": "acedata", "secret": secret})
    added = response.json()
    assert (response.status_code, added["hint"], secret in response.text) == (201, "…6789", False)
    [kept] = [one for one in await fleet.teams.directory.credentials.in_use() if one.id == added["id"]]
    assert fleet.teams.vault.open_credential(kept) == secret
    removed = await root.ask("DELETE", f"/credentials/{before['id']}")
    assert removed["removed_at"] is not None
    assert [one["id"] for one in await root.ask("GET", "/credentials")] == [added["id"]]
    assert secret not in str(await root.changes())


async def test_budgets_are_set_raised_listed_and_removed(fleet: Fleet, root: Administrator) -> None:
    anna = await fleet.teams.member("film", "anna")
    key_id = await fleet.teams.id_of(anna)
    [member] = [{"member": one["id"]} for one in await root.ask("GET", "/members") if one["name"] == "anna"]
    owners: list[dict[str, str]] = [{}, member, {"key": key_id}]
    for window, owner, amount in zip(("day", "month", "week"), owners, ("25", "1", "9"), strict=True):
        budget = await root.ask("PUT", f"/budgets/{window}", {"amount": amount}, params=owner)
        assert (budget["window"], budget["amount"], budget["left"]) == (window, amount, amount)
    assert await spending(fleet, anna) == ["budget_exceeded"] * 2
    raised = await root.ask("POST", "/budgets/month/raise", {"by": "10", "until": "2999-12-30"}, params=member)
    assert (raised["limit"], raised["raised_by"]) == ("11", "10")
    assert await spending(fleet, anna) == ["pending"] * 2
    again = await root.ask("PUT", "/budgets/day", {"amount": "30", "is_soft": True})
    assert (again["limit"], again["is_soft"], again["reserved"]) == ("30", True, "2.38")
    await root.ask("DELETE", "/budgets/month", params=member)
    listed = await root.ask("GET", "/budgets")
    assert [(one["window"], one["member"], one["key"]) for one in listed] == [
        ("day", None, None),
        ("week", None, key_id),
    ]
    said = await root.refused(404, "DELETE", "/budgets/month", params=member)
    assert "no such budget" in said


async def test_an_alert_url_must_be_public(root: Administrator) -> None:
    wanted: dict[str, Any] = {"amount": "25", "alert_url": "https://hooks.example.com/x?secret=1"}
    budget = await root.ask("PUT", "/budgets/day", wanted)
    assert budget["alert_host"] == "hooks.example.com"
    assert budget["alert_secret"].startswith("whsec_")
    assert "alert_secret" not in str(await root.ask("GET", "/budgets"))
    for url in ("http://hooks.example.com/", "https://127.0.0.1/", "https://10.0.0.8/", "https://redis:6379/", "x"):
        said = await root.refused(422, "PUT", "/budgets/day", {"amount": "25", "alert_url": url})
        assert url not in said


async def test_limits_are_set_listed_and_removed(fleet: Fleet, root: Administrator) -> None:
    anna = await fleet.teams.member("film", "anna")
    key = {"key": await fleet.teams.id_of(anna)}
    await root.ask("PATCH", "/limits", {"calls_per_minute": 300})
    await root.ask("PATCH", "/limits", {"in_flight": 7}, params=key)
    limits = await root.ask("PATCH", "/limits", {"generations_per_hour": 1}, params=key)
    assert (limits["key"], limits["in_flight"], limits["generations_per_hour"]) == (key["key"], 7, 1)
    await fleet.settle()
    await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=anna)
    assert (await fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=anna))["code"] == "rate_limited"
    left = await root.ask("DELETE", "/limits", params={**key, "kind": "generations_per_hour"})
    assert (left["in_flight"], left["generations_per_hour"]) == (7, None)
    assert [(one["key"], one["calls_per_minute"]) for one in await root.ask("GET", "/limits")] == [
        (None, 300),
        (key["key"], None),
    ]
    await root.ask("DELETE", "/limits", params=key)
    assert len(await root.ask("GET", "/limits")) == 1
    assert {entry.action.partition(".")[0] for entry in await root.changes()} == {"limits"}


async def test_usage_is_shown_by_member_and_day(fleet: Fleet, root: Administrator) -> None:
    anna = await fleet.teams.member("film", "anna")
    await spending(fleet, anna)
    usage = await root.ask("GET", "/usage", params={"by": "member"})
    [row] = usage["usage"]
    assert (row["member"], row["generations"], row["reserved"]) == ("anna", 2, "2.38")
    assert (usage["team"], usage["by"]) == ("film", "member")
    later = await root.ask("GET", "/usage", params={"since": "2999-01-01", "by": "day"})
    assert later["usage"] == []


async def test_the_audit_log_is_read_in_pages(fleet: Fleet, root: Administrator) -> None:
    for name in ("anna", "ben", "carl"):
        await root.ask("POST", "/members", {"name": name})
    every = await root.ask("GET", "/audit")
    assert {entry["team"] for entry in every} == {"film"}
    first = await root.send("GET", "/audit", params={"limit": 2, "since": "2020-01-01"})
    assert [entry["id"] for entry in first.json()] == [entry["id"] for entry in every][:2]
    following = await root.ask("GET", f"/audit{first.links['next']['url']}")
    assert [entry["id"] for entry in following] == [entry["id"] for entry in every][2:4]
    mine = [entry for entry in every if entry["actor"] == f"key:{root.key_id}"]
    assert [entry["subject"] for entry in mine] == ["film/anna", "film/ben", "film/carl"]
    assert all(entry["request_id"] for entry in mine)
    assert await root.ask("GET", "/audit", params={"since": "2999-01-01"}) == []
