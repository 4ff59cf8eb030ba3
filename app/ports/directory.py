"""Interfaces of the directory: the repositories of teams, members, keys and credentials, and their exceptions.

Every method raises DatabaseUnavailable, and is safe to retry. Each change is one transaction with its entry in the
audit log and an increment of the directory's version. Names are spelled as `app.domain.teams.valid_name` returns them.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.domain.access import Scope
from app.domain.rate_limit import RateLimit
from app.domain.teams import Actor, AuditEntry, KeyHolder, Member, Team, TeamCredential
from app.ports.people import Departures, Invitations, PersonTeams


class AdministrationRefused(Exception):
    """An administrative operation was refused, and changed nothing. `str()` is a sentence for the administrator."""


class NotThere(AdministrationRefused):
    """The team, member, key or credential does not exist."""


class AlreadyThere(AdministrationRefused):
    """The name is taken."""


class NotAllowed(AdministrationRefused):
    """The state of the object does not allow the change."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key before it is recorded. The database stores `digest`, a keyed hash of it."""

    id: str
    digest: str = field(repr=False)
    hint: str


class Teams(Protocol):
    """Teams and their members."""

    async def create(self, name: str, timezone: str, actor: Actor) -> Team:
        """Create a team. Raises AlreadyThere."""
        ...

    async def all(self) -> list[Team]:
        """Return all teams, ordered by name."""
        ...

    async def team(self, name: str) -> Team:
        """Return the team of this name. Raises NotThere."""
        ...

    async def stop(self, name: str, actor: Actor, *, is_stopped: bool = True) -> Team:
        """Stop or resume the spending of a whole team. Raises NotThere."""
        ...

    async def change(  # noqa: PLR0913 - a team has these settings
        self,
        name: str,
        actor: Actor,
        *,
        timezone: str | None = None,
        allows_foreign_ids: bool | None = None,
        members_see_all: bool | None = None,
        asks_above: int | Literal["never"] | None = None,
    ) -> Team:
        """Change the settings that are not None. `asks_above="never"` turns confirmations off. Raises NotThere."""
        ...

    async def add_member(self, team: str, name: str, actor: Actor) -> Member:
        """Add a member to a team. Raises NotThere and AlreadyThere."""
        ...

    async def named(self, names: Collection[str]) -> list[Team]:
        """Return the teams with one of these names. Personal teams are left out: no claim of a login may name one."""
        ...

    async def member(self, team_id: str, member_id: str) -> Member | None:
        """Return the member of a team, both by id; None if there is none."""
        ...

    async def window_limits(self, team_id: str, member_id: str) -> tuple[RateLimit, ...]:
        """Return the rate limits that apply to a member without a key: the member's and the team's."""
        ...

    async def join(self, team: Team, member_id: str, name: str, actor: Actor) -> Member:
        """Return the member with this id, after adding it to `team` if necessary.

        If the name is taken, a part of the id is appended. `member_id` has 32 hex digits.
        """
        ...

    async def members(self, team: str) -> list[Member]:
        """Return the members of a team, ordered by name. Raises NotThere."""
        ...

    async def stop_member(self, team: str, name: str, actor: Actor, *, is_stopped: bool = True) -> Member:
        """Stop or resume a member's spending. Raises NotThere."""
        ...


class ApiKeys(Protocol):
    """Keys. Their ids are unique among all teams."""

    async def key_holder(self, digest: str) -> KeyHolder | None:
        """Return the key with this digest, in any state; None if there is none."""
        ...

    async def key_holders(self, digests: Collection[str]) -> dict[str, KeyHolder]:
        """Return the keys that exist, in any state, by digest. At most 500 digests are allowed."""
        ...

    async def note_used(self, key_ids: Collection[str], minute: float) -> None:
        """Record `minute` (unix seconds) as the last use of keys. The directory's version is not incremented."""
        ...

    async def holder(self, key_id: str) -> KeyHolder:
        """Return the key with this id. Raises NotThere."""
        ...

    async def of_team(self, team: str, *, limit: int | None = None, after: str | None = None) -> list[KeyHolder]:
        """Return at most `limit` keys of a team, oldest first, that are younger than the key with the id `after`.

        Raises NotThere.
        """
        ...

    async def create(  # noqa: PLR0913 - a key has these properties
        self,
        team: str,
        member: str,
        new: NewKey,
        actor: Actor,
        *,
        scopes: frozenset[Scope],
        expires_seconds: float | None = None,
        note: str = "",
    ) -> KeyHolder:
        """Record a new key of a member. `expires_seconds` None means no expiry. Raises NotThere."""
        ...

    async def revoke(self, key_id: str, actor: Actor) -> KeyHolder:
        """Revoke a key, which cannot be undone. Raises NotThere."""
        ...

    async def block(self, key_id: str, actor: Actor, *, is_blocked: bool = True) -> KeyHolder:
        """Block a key, so that it is refused, or unblock it. Raises NotThere; NotAllowed for a revoked one."""
        ...

    async def stop(self, key_id: str, actor: Actor, *, is_stopped: bool = True) -> KeyHolder:
        """Stop or resume a key's spending. Raises NotThere; NotAllowed for a revoked one."""
        ...

    async def rotate(self, key_id: str, new: NewKey, grace_seconds: float, actor: Actor) -> KeyHolder:
        """Record a key that replaces an active one.

        The old key expires after `grace_seconds`, or at its own expiry if that is earlier. The new key has the member,
        scopes and note of the old one, and the same lifetime from now on. Raises NotThere; NotAllowed for a key that is
        not active, or was rotated already.
        """
        ...


class TeamCredentials(Protocol):
    """Sealed credentials of teams for backends."""

    async def add(self, credential: TeamCredential, actor: Actor) -> TeamCredential:
        """Record a sealed credential. The database sets `created_at`. Raises NotThere if the team does not exist."""
        ...

    async def replace_all(self, credential: TeamCredential, actor: Actor) -> TeamCredential:
        """Record a sealed credential, and take the others of its team for its backend out of use. Raises NotThere."""
        ...

    async def of_team(self, team_id: str) -> list[TeamCredential]:
        """Return the credentials in use of the team with this id, oldest first."""
        ...

    async def remove(self, team: str, credential_id: str, actor: Actor) -> TeamCredential:
        """Remove a credential and erase its secret. Raises NotThere."""
        ...

    async def in_use(self) -> list[TeamCredential]:
        """Return the credentials in use of all teams."""
        ...

    async def replace_sealed(self, credential: TeamCredential, sealed: str) -> bool:
        """Compare-and-set the sealed secret from `credential.sealed` to `sealed`, and return whether it was replaced.

        The change has no entry in the audit log, and does not increment the directory's version.
        """
        ...


class AuditLog(Protocol):
    """The append-only log of administrative changes and purchases."""

    async def append(self, entry: AuditEntry) -> None:
        """Record an entry for an event that is not an administrative change: such changes record their own entries."""
        ...

    async def entries(
        self, limit: int, *, team_id: str | None = None, since: float | None = None, after: int = 0
    ) -> list[AuditEntry]:
        """Return at most `limit` entries with an id above `after`, in the order of their ids.

        `since` is the earliest time of an entry, in unix seconds.
        """
        ...

    async def delete_old(self, seconds: float) -> int:
        """Delete entries older than `seconds`, and return their number."""
        ...


class DirectoryFacts(Protocol):
    """The version of the directory, and its sealed pepper: the secret with which keys are hashed."""

    async def version(self) -> int:
        """Return a number that every administrative change increments."""
        ...

    async def pepper(self) -> str | None:
        """Return the sealed pepper; None if none is recorded yet."""
        ...

    async def keep_pepper(self, sealed: str) -> str:
        """Record the pepper unless there is one, and return the recorded one."""
        ...

    async def replace_pepper(self, before: str, sealed: str) -> bool:
        """Compare-and-set the pepper from `before` to `sealed`, and return whether it was replaced."""
        ...


@dataclass(frozen=True, slots=True)
class Directory:
    """The repositories of one database."""

    teams: Teams
    keys: ApiKeys
    credentials: TeamCredentials
    audit: AuditLog
    facts: DirectoryFacts
    invitations: Invitations
    people: PersonTeams
    departures: Departures
