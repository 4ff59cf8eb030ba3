"""The section of the account page about the person's team."""

from app.domain.sign_in import Person
from app.ports.directory import AdministrationRefused
from app.ports.sealing import OtherSecretKey
from app.services.teams.person_account import PersonAccount
from app.web.pages.account_team import team_part
from app.web.pages.sign_in import Site

NO_SECRETS = "This service cannot decrypt its secrets. Nothing was changed. Tell the operator of this service."


class TeamSection:
    """Shows a person's team, replaces the credential of a personal team, and lets people leave their team.

    Every method may raise DatabaseUnavailable.
    """

    def __init__(self, account: PersonAccount, site: Site, backend_name: str) -> None:
        """Show and change the teams in `account`. `backend_name` is the name of the backend that people see."""
        self._account = account
        self._site = site
        self._backend_name = backend_name

    async def render(self, person: Person, csrf_token: str) -> str:
        """Return the section as HTML, with `csrf_token` in its form."""
        return team_part(self._site, await self._account.view(person), self._backend_name, csrf_token=csrf_token)

    async def leave(self, person: Person) -> str | None:
        """End the membership of a person who wishes to leave. Return the reason of a refusal, else None."""
        try:
            await self._account.leave(person)
        except AdministrationRefused as exc:
            return str(exc)
        except OtherSecretKey:
            return NO_SECRETS
        return None

    async def replace_credential(self, person: Person, secret: str) -> str | None:
        """Replace the credentials of a personal team by `secret`. Return the reason of a refusal, else None."""
        try:
            await self._account.replace_credential(person, secret)
        except AdministrationRefused as exc:
            return str(exc)
        except OtherSecretKey:
            return NO_SECRETS
        return None
