"""`luma-mcp members invite`, `invitations` and `uninvite`: an operator invites somebody, who joins."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.sign_in_tokens import INVITATION
from tests.support.cli import Cli
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.login_teams import World, world_of
from tests.support.process import environment
from tests.support.service import KEY


@pytest.fixture
async def world(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[World]:
    async with world_of(clock, realm, database_url) as lent:
        lent.log_in("bea")
        yield lent


@pytest.fixture
def cli(world: World, database_url: str, tmp_path: Path) -> Cli:
    values = {"sign_in": "oidc", "oidc_issuer": world.realm.issuer, "oidc_client_id": "luma"}
    env = environment(database_url=database_url, secret_key=KEY, public_url=world.fleet.issuer, **values)
    return Cli(tmp_path, env, ("members",))


async def test_whoever_opens_the_printed_link_joins(world: World, cli: Cli) -> None:
    made = await cli.ask("invite", "film", "--expires", "3650d", "--note", "for Bea")
    assert set(made) == {"id", "team", "note", "created_at", "expires_at", "link"}
    page, _, code = made["link"].partition("?invitation=")
    assert page == f"{world.fleet.issuer}/join"
    assert INVITATION.is_well_formed(code)
    [listed] = await cli.ask("invitations", "film")
    assert listed == {name: value for name, value in made.items() if name != "link"}
    assert "film" in (await world.join(await world.fleet.browser(), made["link"])).text
    [row] = [one for one in await world.teams.directory.audit.entries(100) if one.action == "member.invite"]
    assert row.actor.startswith("cli:")


async def test_people_read_what_programs_do(cli: Cli) -> None:
    status, printed, _ = await cli.ended("invite", "film", "--note", "for Bea")
    assert status == 0
    assert "/join?invitation=lmi_" in printed.splitlines()[-1]
    [made] = await cli.ask("invitations", "film")
    status, printed, _ = await cli.ended("invitations", "film")
    assert (status, "for Bea" in printed, made["id"] in printed) == (0, True, True)
    assert "lmi_" not in printed


async def test_an_invitation_that_is_ended_lets_nobody_in(world: World, cli: Cli) -> None:
    made = await cli.ask("invite", "film")
    assert (await cli.ask("uninvite", made["id"]))["id"] == made["id"]
    assert (await world.fleet.http.get(made["link"])).status_code == 403
    assert (await cli.ended("uninvite", made["id"]))[0] == 0
    assert (await cli.ended("uninvite", "0123456789ab"))[0] == 1
    assert len(await world.audited("invitation.end")) == 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("invite", "none"), 1),
        (("invitations", "none"), 1),
        (("invite", "film", "--expires", "0"), 2),
        (("invite", "film", "--expires", "soon"), 2),
        (("invite", "film", "--note", "x" * 201), 2),
    ],
)
async def test_what_cannot_be_done_is_refused(cli: Cli, arguments: tuple[str, ...], status: int) -> None:
    ended = await cli.ended(*arguments)
    assert (ended[0], ended[1]) == (status, "")
    assert "Traceback" not in ended[2]


@pytest.mark.parametrize("values", [{}, {"public_url": "http://127.0.0.1:8000"}])
async def test_an_invitation_needs_sign_in(cli: Cli, database_url: str, values: dict[str, str]) -> None:
    without = replace(cli, env=environment(database_url=database_url, secret_key=KEY, **values))
    status, printed, complaint = await without.ended("invite", "film")
    assert (status, printed) == (1, "")
    assert "LUMA_MCP_SIGN_IN=oidc" in complaint
    assert await without.ask("invitations", "film") == []


async def test_another_secret_key_makes_no_invitation(cli: Cli) -> None:
    other = replace(cli, env=cli.env | {"LUMA_MCP_SECRET_KEY": "0123456789abcdef" * 3})
    status, printed, _ = await other.ended("invite", "film")
    assert (status, printed) == (2, "")
