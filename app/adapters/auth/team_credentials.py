"""The backend credentials of the members of a team."""

from collections.abc import Sequence

from app.domain.access import Credential
from app.domain.backend import BackendDescription
from app.domain.errors import InternalError, NoCredential
from app.ports.repositories import DatabaseUnavailable
from app.services.teams.directory_cache import NO_DATABASE, DirectoryCache


class TeamCredentials:
    """The CredentialSource of the members of a team."""

    __slots__ = ("_account_url", "_backend", "_directory", "_team_id")

    def __init__(
        self, directory: DirectoryCache, team_id: str, backend: BackendDescription, account_url: str | None = None
    ) -> None:
        """Read the credentials of the team from `directory`.

        `account_url` is the page where the only member of a personal team enters them; None for any other team.
        """
        self._directory = directory
        self._team_id = team_id
        self._backend = backend
        self._account_url = account_url

    async def all(self) -> Sequence[Credential]:
        """Return the credentials of the team, the oldest first.

        Raises NoCredential if there is none, and InternalError if the database does not answer.
        """
        try:
            credentials = await self._directory.credentials(self._team_id)
        except DatabaseUnavailable:
            raise InternalError(NO_DATABASE, retry_after_seconds=5.0) from None
        if not credentials:
            raise self._no_credential()
        return credentials

    async def one(self) -> Credential:
        """Return the oldest credential, which is used for reads. Raises the errors of `all`."""
        return (await self.all())[0]

    def _no_credential(self) -> NoCredential:
        if self._account_url is None:
            return self._backend.error(NoCredential)
        return NoCredential(f"{self._backend.say(NoCredential.own_template)} {self._account_url}.")
