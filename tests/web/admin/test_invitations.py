"""Invitations over /admin/v1: made once, listed without their links, and ended; by keys that may do as much."""

from collections.abc import AsyncIterator

import pytest

from app.domain.access import Scope
from app.ports.people import NewInvitation
from app.services.teams.administration import MAX_MEMBERS
from tests.support.administrator import Administrator, administrator
from tests.support.clock import HandClock
from tests.support.fleet import Fleet, running_fleet
from tests.support.issuer import Realm
from tests.support.teams import ACTOR


@pytest.fixture
async def signing_in(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[Fleet]:
    values = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    public_url = "https://luma.example.com"
    async with running_fleet(clock, database_url, admin="on", public_url=public_url, **values) as fleet:
        yield fleet


@pytest.fixture
async def head(signing_in: Fleet) -> Administrator:
    return await administrator(signing_in)


async def test_an_invitation_is_made_listed_and_ended(head: Administrator) -> None:
    response = await head.send("POST", "/invitations", {"expires": "3d", "note": "for Bea"})
    made = response.json()
    assert response.status_code == 201
    assert set(made) == {"id", "team", "note", "created_at", "expires_at", "link"}
    assert made["link"].startswith("https://luma.example.com/join?invitation=lmi_")
    other = await head.ask("POST", "/invitations")
    listed = await head.ask("GET", "/invitations", on=head.fleet.other)
    assert [one["id"] for one in listed] == sorted([made["id"], other["id"]])  # made in the same second
    assert "lmi_" not in str(listed)
    ended = await head.ask("DELETE", f"/invitations/{made['id']}")
    assert ended == {name: value for name, value in made.items() if name != "link"}
    assert [one["id"] for one in await head.ask("GET", "/invitations")] == [other["id"]]
    changes = [(entry.action, entry.subject) for entry in await head.changes()]
    assert changes[0] == ("member.invite", f"film/{made['id']}")
    assert changes[2] == ("invitation.end", f"film/{made['id']}")


@pytest.mark.parametrize("body", [{"expires": "0"}, {"expires": None}, {"expires": 7}, {"note": "x" * 201}, {"a": 1}])
async def test_what_is_no_invitation_is_refused(head: Administrator, body: dict[str, object]) -> None:
    await head.refused(422, "POST", "/invitations", body)
    assert await head.ask("GET", "/invitations") == []


async def test_another_teams_invitation_is_missing(signing_in: Fleet, head: Administrator) -> None:
    carl = await administrator(signing_in, "ads", "carl")
    theirs = (await carl.ask("POST", "/invitations"))["id"]
    assert await head.ask("GET", "/invitations") == []
    said = [await head.refused(404, "DELETE", f"/invitations/{one}") for one in (theirs, "0123456789ab")]
    assert said[0].replace(theirs, "0123456789ab") == said[1]
    assert [one["id"] for one in await carl.ask("GET", "/invitations")] == [theirs]


@pytest.mark.parametrize("scopes", [{Scope.ADMIN}, {Scope.ADMIN, Scope.READ}])
async def test_whoever_may_not_generate_invites_nobody_who_may(signing_in: Fleet, scopes: set[Scope]) -> None:
    head = await administrator(signing_in, scopes=frozenset(scopes))
    assert "generate" in await head.refused(403, "POST", "/invitations")
    assert await head.ask("GET", "/invitations") == []


async def test_a_stopped_administrator_invites_nobody_and_ends_invitations(
    signing_in: Fleet, head: Administrator
) -> None:
    made = await head.ask("POST", "/invitations")
    await signing_in.teams.directory.keys.stop(head.key_id, ACTOR)
    assert "is stopped" in await head.refused(403, "POST", "/invitations")
    await head.ask("DELETE", f"/invitations/{made['id']}")


async def test_invitations_and_members_are_limited_together(signing_in: Fleet, head: Administrator) -> None:
    invitations = signing_in.teams.directory.invitations
    for number in range(MAX_MEMBERS - 1):  # one more is the administrator
        await invitations.create("film", NewInvitation(f"{number:012x}", f"{number:064x}"), ACTOR, expires_seconds=60)
    assert str(MAX_MEMBERS) in await head.refused(409, "POST", "/invitations")
    signing_in.clock.advance(61)
    await signing_in.settle()
    await head.ask("POST", "/invitations")


async def test_without_sign_in_nobody_is_invited(root: Administrator) -> None:
    assert "LUMA_MCP_SIGN_IN=oidc" in await root.refused(409, "POST", "/invitations")
    assert await root.ask("GET", "/invitations") == []
