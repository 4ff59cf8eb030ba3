"""Teams of a service in a test: members with keys, and a credential of the team."""

import secrets
from dataclasses import dataclass, field

from app.adapters.auth.key_digest import load_key_digest
from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.vault import Vault
from app.domain import api_key_format
from app.domain.access import PASSTHROUGH_SCOPES, Scope
from app.domain.teams import Actor, TeamCredential
from app.ports.directory import Directory, NewKey
from tests.support.clock import HandClock
from tests.support.service import KEY

ACTOR = Actor("cli:tester")


def mistyped(key: str) -> str:
    """Return `key` with another last character, so that its checksum is wrong."""
    return key[:-1] + ("0" if key[-1] != "0" else "1")


@dataclass
class Teams:
    """Administers teams beside the service, as the command line does."""

    directory: Directory
    vault: Vault
    _team_ids: dict[str, str] = field(default_factory=dict)

    async def team(self, name: str, *credentials: str, backend: str = "acedata") -> None:
        """Make a team with credentials."""
        team = await self.directory.teams.create(name, "UTC", ACTOR)
        self._team_ids[name] = team.id
        for secret in credentials:
            await self.credential(name, secret, backend)

    async def credential(self, team: str, secret: str, backend: str = "acedata") -> str:
        """Put in a credential and return its id."""
        team_id, number = self._team_ids[team], secrets.token_hex(6)
        sealed = self.vault.seal_credential(team_id, number, backend, secret)
        new = TeamCredential(number, team_id, backend, sealed, "…", created_at=0.0)
        return (await self.directory.credentials.add(new, ACTOR)).id

    async def member(self, team: str, name: str, scopes: frozenset[Scope] = PASSTHROUGH_SCOPES) -> str:
        """Add a member and return a key of theirs."""
        await self.directory.teams.add_member(team, name, ACTOR)
        return await self.key(team, name, scopes)

    async def key(self, team: str, member: str, scopes: frozenset[Scope] = PASSTHROUGH_SCOPES) -> str:
        """Return a new key of a member."""
        key, new = await self.new_key()
        await self.directory.keys.create(team, member, new, ACTOR, scopes=scopes)
        return key

    async def new_key(self) -> tuple[str, NewKey]:
        """Return a key, and what the directory records of it."""
        digest = await load_key_digest(self.directory.facts, self.vault)
        key = api_key_format.encode(secrets.token_bytes(api_key_format.RANDOM_BYTES))
        return key, NewKey(secrets.token_hex(6), digest.of(key), api_key_format.hint(key))

    async def id_of(self, key: str) -> str:
        """Return the id of a key."""
        digest = await load_key_digest(self.directory.facts, self.vault)
        holder = await self.directory.keys.key_holder(digest.of(key))
        assert holder is not None
        return holder.key.id


def teams_in(database: Database, clock: HandClock, secret_key: str = KEY) -> Teams:
    """Return the teams in the database of a service."""
    return Teams(sql_directory(database, clock.sql), Vault(secret_key))
