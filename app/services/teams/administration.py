"""Administration of a team with one of its own keys that has the scope `admin`.

A key administers only its own team, and cannot create a key that may do more than itself. Every method raises
AdministrationRefused and DatabaseUnavailable. `remove_member`, and methods that create or seal a secret, raise
OtherSecretKey too.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from app.domain.access import Principal, Scope
from app.domain.teams import Actor, AuditEntry, KeyHolder, KeyState, Member, Team, TeamCredential, written_scopes
from app.ports.directory import AdministrationRefused, Directory, NotAllowed, NotThere
from app.ports.sealing import SecretMaker
from app.services.teams.departures import TeamDepartures

MAX_MEMBERS = 1_000
MAX_CREDENTIALS = 50
"""Limits of members and credentials that a team's own keys may create. Lists of them are not paginated."""


class NotPermitted(AdministrationRefused):
    """The caller lacks the permission for the operation."""


class NoAdministrator(NotPermitted):
    """The caller has no key of a team with the scope `admin`."""


class KeyEnded(AdministrationRefused):
    """The caller's key is unknown, revoked, blocked or expired."""


@dataclass(frozen=True, slots=True)
class TeamAdmin:
    """A caller who administers a team.

    Attributes:
        holder: the caller's key, with its member and team.
        actor: the caller's name in the audit log.

    """

    holder: KeyHolder
    actor: Actor

    @property
    def team(self) -> Team:
        """The team that the caller administers."""
        return self.holder.team

    def require_spending(self) -> None:
        """Raise NotPermitted if the caller's key or member is stopped. A stopped caller cannot lift the stop."""
        if self.holder.key.is_stopped or self.holder.member.is_stopped:
            raise NotPermitted(
                "Your key, or its member, is stopped. Until another administrator resumes it, it makes no keys, and "
                "resumes and unblocks nothing."
            )

    def require_scopes(self, scopes: frozenset[Scope]) -> None:
        """Raise NotPermitted if `scopes` has a scope that the caller's key lacks."""
        if missing := scopes - self.holder.key.scopes:
            raise NotPermitted(
                f"Your key does not have {written_scopes(missing)}, so you cannot hold a new key that does. Ask the "
                "operator of this service."
            )


def require_admin(principal: Principal) -> str:
    """Return the id of the caller's team. Raises NoAdministrator."""
    if principal.key is None or principal.team is None or Scope.ADMIN not in principal.scopes:
        raise NoAdministrator(
            "This needs the key of a team with the scope admin. The operator of this service makes one with "
            "`luma-mcp keys create`."
        )
    return principal.team


class TeamAdministration:
    """Operations of a key with the scope `admin` on the directory of its team."""

    def __init__(
        self, directory: Directory, secrets: SecretMaker, departures: TeamDepartures, backends: Collection[str]
    ) -> None:
        """Change `directory`. `backends` are the names of the backends that credentials can be for."""
        self._directory = directory
        self._departures = departures
        self._secrets = secrets
        self._backends = backends

    async def admin(self, principal: Principal, request_id: str) -> TeamAdmin:
        """Return the caller as an administrator. The key is read from the database, not from a cache.

        Raises NoAdministrator and KeyEnded.
        """
        require_admin(principal)
        try:
            holder = await self._directory.keys.holder(principal.key or "")
        except NotThere:  # such as after the database was restored from a backup
            raise KeyEnded("Your key is not known any more. Use another one.") from None
        if (state := holder.key.state(holder.read_at)) is not KeyState.ACTIVE:
            raise KeyEnded(f"Your key is {state}. Use another one.")
        return TeamAdmin(holder, Actor(f"key:{holder.key.id}", request_id))

    async def change(
        self,
        admin: TeamAdmin,
        *,
        timezone: str | None,
        members_see_all: bool | None,
        asks_above: int | Literal["never"] | None,
    ) -> Team:
        """Change the settings that are not None. `asks_above="never"` turns confirmations off."""
        return await self._directory.teams.change(
            admin.team.name,
            admin.actor,
            timezone=timezone,
            members_see_all=members_see_all,
            asks_above=asks_above,
        )

    async def stop(self, admin: TeamAdmin, *, is_stopped: bool) -> Team:
        """Stop or resume the spending of the whole team."""
        if not is_stopped:
            admin.require_spending()
        return await self._directory.teams.stop(admin.team.name, admin.actor, is_stopped=is_stopped)

    async def members(self, admin: TeamAdmin) -> list[Member]:
        """Return the members, ordered by name."""
        return await self._directory.teams.members(admin.team.name)

    async def member(self, admin: TeamAdmin, member_id: str) -> Member:
        """Return the member with this id. Raises NotThere."""
        for member in await self.members(admin):
            if member.id == member_id:
                return member
        raise NotThere(
            f"Team {admin.team.name} has no member with the id {member_id}. Look at the list of its members."
        )

    async def add_member(self, admin: TeamAdmin, name: str) -> Member:
        """Add a member. Raises NotAllowed if the team has MAX_MEMBERS, and AlreadyThere."""
        if len(await self.members(admin)) >= MAX_MEMBERS:
            raise NotAllowed(f"A team has at most {MAX_MEMBERS} members. Ask the operator of this service for more.")
        return await self._directory.teams.add_member(admin.team.name, name, admin.actor)

    async def stop_member(self, admin: TeamAdmin, member_id: str, *, is_stopped: bool) -> Member:
        """Stop or resume the spending of the member with this id. Resuming requires the right to spend."""
        if not is_stopped:
            admin.require_spending()
        member = await self.member(admin, member_id)
        return await self._directory.teams.stop_member(admin.team.name, member.name, admin.actor, is_stopped=is_stopped)

    async def remove_member(self, admin: TeamAdmin, member_id: str) -> Member:
        """Remove the member with this id, with their keys and the apps that they have connected.

        Raises NotThere, and NotAllowed for the member of the administrator's own key.
        """
        if member_id == admin.holder.member.id:
            raise NotAllowed("This is the member of the key that you use. Another administrator has to remove it.")
        member = await self.member(admin, member_id)
        return (await self._departures.remove(admin.team.name, member.name, admin.actor)).member

    async def keys(self, admin: TeamAdmin, limit: int, after: str | None) -> list[KeyHolder]:
        """Return at most `limit` keys, oldest first: those younger than the key with the id `after`; None for all."""
        return await self._directory.keys.of_team(admin.team.name, limit=limit, after=after)

    async def create_key(
        self, admin: TeamAdmin, member: str, scopes: frozenset[Scope], expires_seconds: int | None, note: str
    ) -> tuple[str, KeyHolder]:
        """Create a key for a member. Return the key itself, which is shown only once, and its record."""
        admin.require_spending()
        admin.require_scopes(scopes)
        key, new = await self._secrets.new_key()
        holder = await self._directory.keys.create(
            admin.team.name, member, new, admin.actor, scopes=scopes, expires_seconds=expires_seconds, note=note
        )
        return key, holder

    async def rotate_key(self, admin: TeamAdmin, key_id: str, grace_seconds: int) -> tuple[str, KeyHolder]:
        """Create a key that replaces another, which stays valid for `grace_seconds`. Return as `create_key` does."""
        admin.require_spending()
        admin.require_scopes((await self._own_key(admin, key_id)).key.scopes)
        key, new = await self._secrets.new_key()
        return key, await self._directory.keys.rotate(key_id, new, grace_seconds, admin.actor)

    async def revoke_key(self, admin: TeamAdmin, key_id: str) -> KeyHolder:
        """Revoke a key, which cannot be undone."""
        await self._own_key(admin, key_id)
        return await self._directory.keys.revoke(key_id, admin.actor)

    async def block_key(self, admin: TeamAdmin, key_id: str, *, is_blocked: bool) -> KeyHolder:
        """Block a key, so that it is refused, or unblock it. Unblocking requires the right to spend."""
        if not is_blocked:
            admin.require_spending()
        await self._own_key(admin, key_id)
        return await self._directory.keys.block(key_id, admin.actor, is_blocked=is_blocked)

    async def stop_key(self, admin: TeamAdmin, key_id: str, *, is_stopped: bool) -> KeyHolder:
        """Stop or resume the spending with a key. Resuming requires the right to spend."""
        if not is_stopped:
            admin.require_spending()
        await self._own_key(admin, key_id)
        return await self._directory.keys.stop(key_id, admin.actor, is_stopped=is_stopped)

    async def credentials(self, admin: TeamAdmin) -> list[TeamCredential]:
        """Return the credentials in use, oldest first."""
        return await self._directory.credentials.of_team(admin.team.id)

    async def add_credential(self, admin: TeamAdmin, backend: str, secret: str) -> TeamCredential:
        """Encrypt and add a credential for a backend.

        Raises NotAllowed for another backend, or if the team has MAX_CREDENTIALS.
        """
        if backend not in self._backends:
            raise NotAllowed(f"Credentials are for one of these backends: {', '.join(self._backends)}.")
        if len(await self.credentials(admin)) >= MAX_CREDENTIALS:
            raise NotAllowed(f"A team has at most {MAX_CREDENTIALS} credentials. Remove one that is not used any more.")
        sealed = await self._secrets.sealed(admin.team, backend, secret)
        return await self._directory.credentials.add(sealed, admin.actor)

    async def remove_credential(self, admin: TeamAdmin, credential_id: str) -> TeamCredential:
        """Remove a credential and erase its secret."""
        return await self._directory.credentials.remove(admin.team.name, credential_id, admin.actor)

    async def audit(self, admin: TeamAdmin, limit: int, since: float | None, after: int) -> list[AuditEntry]:
        """Return at most `limit` entries of the audit log about the team, with ids above `after`.

        `since` is the earliest time, in unix seconds; None for no limit.
        """
        return await self._directory.audit.entries(limit, team_id=admin.team.id, since=since, after=after)

    async def _own_key(self, admin: TeamAdmin, key_id: str) -> KeyHolder:
        """Return a key of the team. Raises NotThere, also for a key of another team, with the same sentence."""
        missing = NotThere(f"Team {admin.team.name} has no key with the id {key_id}. Look at the list of its keys.")
        try:
            holder = await self._directory.keys.holder(key_id)
        except NotThere:
            raise missing from None
        if holder.team.id != admin.team.id:
            raise missing
        return holder
