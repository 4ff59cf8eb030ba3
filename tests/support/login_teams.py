"""A fleet whose people sign in with an OpenID issuer, and its teams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from app.adapters.secret_maker import VaultSecretMaker
from app.domain.invitations import INVITATION_SECONDS, Invitation, join_url
from app.services.teams.invitations import InvitationMaker
from tests.support.acedata_login import FakeAceData
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.oauth import Browser, Page, SignInFleet, sign_in_fleet
from tests.support.service import KEY
from tests.support.teams import ACTOR, Teams, teams_in


class World:
    """A fleet whose people sign in with a realm, and its team film."""

    def __init__(self, fleet: SignInFleet, teams: Teams, realm: Realm) -> None:
        self.fleet, self.teams, self.realm, self.clock = fleet, teams, realm, fleet.clock

    def log_in(self, subject: str, *, team: object = None) -> None:
        """Let a person be logged in at the issuer, whose claim names `team`."""
        self.realm.login(
            self.clock(), sub=subject, email=f"{subject}@example.com", preferred_username=subject, team=team
        )

    async def invited(
        self, team: str = "film", *, seconds: int = INVITATION_SECONDS, note: str = ""
    ) -> tuple[str, Invitation]:
        """Invite somebody, and return the link."""
        directory = self.teams.directory
        maker = InvitationMaker(directory.invitations, VaultSecretMaker(directory, (KEY,)), join_url(self.fleet.issuer))
        return await maker.invite(team, ACTOR, seconds, note)

    async def join(self, browser: Browser, link: str) -> Page:
        """Have the person who is logged in open a link and join, and return the page that they end on."""
        page = await browser.open(link)
        assert isinstance(page, Page)
        assert page.response.status_code == 200, page.text
        ended = await browser.post(page.action, page.form | {"action": "join"})
        assert isinstance(ended, Page)
        return ended

    async def approved(self, browser: Browser) -> Page | dict[str, str]:
        """Have a person approve a new client, and return where that has led."""
        page = await browser.open((await self.fleet.registered()).url())
        assert isinstance(page, Page)
        return await browser.press(page, "approve")

    async def access(self, browser: Browser) -> str:
        """Have a person connect a new client, and return its access token."""
        return str((await (await self.fleet.registered()).connect(browser))["access_token"])

    async def account(self, browser: Browser) -> Page:
        """Return the account page."""
        page = await browser.open(f"{self.fleet.issuer}/account")
        assert isinstance(page, Page)
        return page

    async def sign_in_until(self, browser: Browser) -> None:
        """Have a browser sign in up to where it stops: `browser.visited[-1]` is where it would go on."""
        page = await self.account(browser)
        assert not isinstance(await browser.post(page.action, page.form | {"action": "sign-in"}), Page)

    async def sign_in(self, browser: Browser) -> Page:
        """Have the person who is logged in sign in to the account page."""
        page = await self.account(browser)
        ended = await browser.post(page.action, page.form | {"action": "sign-in"})
        assert isinstance(ended, Page)
        return ended

    async def audited(self, *actions: str) -> list[tuple[str, str]]:
        """Return the action and the subject of each row of the audit log that has one of `actions`."""
        entries = await self.teams.directory.audit.entries(1000)
        return [(entry.action, entry.subject) for entry in entries if entry.action in actions]


@asynccontextmanager
async def world_of(
    clock: HandClock, realm: Realm, database_url: str, *, replicas: int = 1, **values: Any
) -> AsyncIterator[World]:
    """Lend a fleet with the team film, whose people sign in with `realm`; anna of the team film is logged in."""
    usual: dict[str, Any] = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    realm.login(clock())
    async with sign_in_fleet(
        clock, FakeAceData(), replicas=replicas, database_url=database_url, **usual | values
    ) as fleet:
        teams = teams_in(fleet.one.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        lent = World(fleet, teams, realm)
        await fleet.settle()
        fleet.alternate()
        yield lent
