"""Permissions of /admin/v1: scopes, other teams, ended keys, and stopped keys."""

from typing import Any

import pytest

from app.domain.access import Scope
from tests.support.administrator import EVERY, NOBODY, OF_IDS, Administrator, administrator
from tests.support.clock import HandClock
from tests.support.fleet import Fleet
from tests.support.service import Service, sandbox, serving, settings
from tests.support.teams import ACTOR


async def anonymous(service: Service, method: str, path: str, **headers: str) -> Any:
    return await service.http.request(method, f"{service.url}/admin/v1{path}", headers=headers)


async def test_without_a_token_there_is_a_challenge(fleet: Fleet) -> None:
    for method, path in [*EVERY, ("GET", "/openapi.json"), ("GET", "/nothing")]:
        response = await anonymous(fleet.one, method, path)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"].startswith("Bearer ")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        assert "lmk_" in response.json()["detail"]


async def test_a_key_without_the_scope_gets_403_with_its_name(fleet: Fleet) -> None:
    keys = [await fleet.teams.member("film", "anna"), "a-token-of-the-backend"]
    for key in keys:
        for method, path in [*EVERY, ("GET", "/openapi.json")]:
            response = await anonymous(fleet.one, method, path, authorization=f"Bearer {key}")
            assert response.status_code == 403, (method, path)
            challenge = response.headers["www-authenticate"]
            assert 'error="insufficient_scope"' in challenge
            assert 'scope="admin"' in challenge
            assert response.json()["code"] == "forbidden"
    assert [entry.action for entry in await fleet.teams.directory.audit.entries(100) if "key:" in entry.actor] == []


async def test_the_scope_admin_alone_neither_reads_nor_spends(fleet: Fleet) -> None:
    root = await administrator(fleet, scopes=frozenset({Scope.ADMIN}))
    assert (await fleet.one.fail("luma_generate_video", {"prompt": "A fox"}, token=root.key))["code"] == "forbidden"
    assert (await root.ask("GET", "/team"))["name"] == "film"


@pytest.mark.parametrize("action", ["revoke", "block", "expire"])
async def test_an_ended_key_is_refused_by_administration_at_once(
    fleet: Fleet, root: Administrator, action: str
) -> None:
    await root.ask("GET", "/team")
    keys = fleet.teams.directory.keys
    if action == "expire":
        _, new = await fleet.teams.new_key()
        await keys.rotate(root.key_id, new, 0.0, ACTOR)
    else:
        await (keys.revoke if action == "revoke" else keys.block)(root.key_id, ACTOR)
    said = await root.refused(401, "POST", "/members", {"name": "anna"})  # no replica has seen the change yet
    assert "Use another one" in said
    await fleet.settle()
    await root.refused(401, "GET", "/team", on=fleet.other)


async def test_ids_of_another_team_are_not_found(fleet: Fleet, root: Administrator) -> None:
    carl = await administrator(fleet, "ads", "carl")
    team = await carl.ask("GET", "/team")
    for method, path in OF_IDS:
        owned = "members" if "/members/" in path else "credentials"
        theirs = carl.key_id if "/keys/" in path else team[owned][0]["id"]
        said = [await root.refused(404, method, path.replace(NOBODY, one)) for one in (NOBODY, theirs)]
        assert said[0].replace(NOBODY, theirs) == said[1]
        assert "ads" not in said[1]
    for query in ({"key": carl.key_id}, {"member": team["members"][0]["id"]}):
        assert "ads" not in await root.refused(404, "PUT", "/budgets/day", {"amount": "1"}, params=query)
        assert "ads" not in await root.refused(404, "PATCH", "/limits", {"in_flight": 1}, params=query)
    await root.refused(404, "POST", "/keys", {"member": "carl"})
    await root.refused(404, "GET", f"/keys?after={carl.key_id}")
    assert await root.changes() == []
    assert (await carl.ask("GET", "/team")) == team


async def test_lists_contain_only_the_keys_own_team(fleet: Fleet, root: Administrator) -> None:
    carl = await administrator(fleet, "ads", "carl")
    await carl.ask("PUT", "/budgets/day", {"amount": "3"})
    await carl.ask("PATCH", "/limits", {"in_flight": 3}, params={"key": carl.key_id})
    for path in ("/team", "/members", "/keys", "/credentials", "/budgets", "/limits", "/usage", "/audit"):
        listed = await root.send("GET", path)
        assert listed.is_success
        assert "carl" not in listed.text
        assert "ads" not in listed.text
        assert carl.key_id not in listed.text


async def test_a_key_grants_no_scope_that_it_lacks(fleet: Fleet) -> None:
    root = await administrator(fleet, scopes=frozenset({Scope.ADMIN, Scope.READ}))
    anna = await fleet.teams.member("film", "anna")
    said = await root.refused(403, "POST", "/keys", {"member": "anna", "scopes": ["read", "generate"]})
    assert "generate" in said
    await root.refused(403, "POST", "/keys", {"member": "anna"})
    await root.refused(403, "POST", f"/keys/{await fleet.teams.id_of(anna)}/rotate")
    created = await root.ask("POST", "/keys", {"member": "anna", "scopes": ["admin", "read"]})
    assert created["scopes"] == ["read", "admin"]
    assert [entry.action for entry in await root.changes()] == ["key.create"]


@pytest.mark.parametrize("stopped", ["key", "member"])
async def test_a_stopped_key_administers_and_lifts_no_stop(fleet: Fleet, root: Administrator, stopped: str) -> None:
    directory = fleet.teams.directory
    anna = await fleet.teams.id_of(await fleet.teams.member("film", "anna"))
    if stopped == "key":
        await directory.keys.stop(root.key_id, ACTOR)
    else:
        await directory.teams.stop_member("film", "root", ACTOR)
    [member] = [one["id"] for one in (await root.ask("GET", "/members")) if one["name"] == "root"]
    for path in (
        "/resume",
        f"/members/{member}/resume",
        f"/keys/{root.key_id}/resume",
        f"/keys/{anna}/resume",
        f"/keys/{anna}/unblock",
        f"/keys/{anna}/rotate",
    ):
        assert "is stopped" in await root.refused(403, "POST", path)
    await root.refused(403, "POST", "/keys", {"member": "anna"})
    await root.ask("POST", f"/keys/{anna}/block")
    await root.ask("POST", "/stop")
    await root.ask("POST", "/members", {"name": "ben"})
    assert [entry.action for entry in await root.changes()] == ["key.block", "team.stop", "member.add"]


async def test_administration_over_http_is_off_by_default(clock: HandClock, database_url: str) -> None:
    given = settings(auth="keys", database_url=database_url)
    async with serving(given, sandbox(clock), clock) as service:
        for path in ("/admin/v1/team", "/admin/v1/openapi.json", "/admin/v1"):
            assert (await service.http.get(f"{service.url}{path}")).status_code == 404
