"""The directory of teams, members, keys and credentials: its repositories, and their refusals.

Every method raises DatabaseUnavailable, and may be repeated. Each change is one transaction with its row of the audit
log and the next version of the directory. Names are spelled as `app.domain.teams.valid_name` returns them.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, Protocol

from app.domain.access import Scope
from app.domain.rate_limit import RateLimit
from app.domain.teams import Actor, AuditEntry, KeyHolder, Member, Team, TeamCredential


class AdministrationRefused(Exception):
    """An administrative operation was refused and has changed nothing; `str()` is a sentence for its operator."""


class NotThere(AdministrationRefused):
    """The team, member, key or credential does not exist."""


class AlreadyThere(AdministrationRefused):
    """The name is taken."""


class NotAllowed(AdministrationRefused):
    """The state of the subject does not allow the change."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key before it is recorded; `digest` stands for it in the database."""

    id: str
    digest: str = field(repr=False)
    hint: str


class Teams(Protocol):
    """Teams and their members."""

    async def create(self, name: str, timezone: str, actor: Actor) -> Team:
        """Create a team. Raises AlreadyThere."""
        ...

    async def all(self) -> list[Team]:
        """Return every team by name."""
        ...

    async def team(self, name: str) -> Team:
        """Return the team of this name. Raises NotThere."""
        ...

    async def stop(self, name: str, actor: Actor, *, is_stopped: bool = True) -> Team:
        """Stop the spending of a whole team, or let it go on. Raises NotThere."""
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
        """Change what is not None; "never" asks for no confirmation any more. Raises NotThere."""
        ...

    async def add_member(self, team: str, name: str, actor: Actor) -> Member:
        """Add a member to a team. Raises NotThere and AlreadyThere."""
        ...

    async def named(self, names: Collection[str]) -> list[Team]:
        """Return the teams that have one of these names."""
        ...

    async def member(self, team_id: str, member_id: str) -> Member | None:
        """Return the member with this id of the team with that id; None where there is none."""
        ...

    async def window_limits(self, team_id: str, member_id: str) -> tuple[RateLimit, ...]:
        """Return the limits in a window that apply to a member without a key: the member's and the team's."""
        ...

    async def join(self, team: Team, member_id: str, name: str, actor: Actor) -> Member:
        """Return the member with this id, who is added to `team` where they are not in it.

        If the name is taken, a part of the id is added to it. `member_id` has 32 hex digits.
        """
        ...

    async def members(self, team: str) -> list[Member]:
        """Return the members of a team by name. Raises NotThere."""
        ...

    async def stop_member(self, team: str, name: str, actor: Actor, *, is_stopped: bool = True) -> Member:
        """Stop a member's spending, or let it go on. Raises NotThere."""
        ...


class ApiKeys(Protocol):
    """Keys. An id of a key names it among those of all teams."""

    async def key_holder(self, digest: str) -> KeyHolder | None:
        """Return the key with this digest, in whatever state it is; None where there is none."""
        ...

    async def key_holders(self, digests: Collection[str]) -> dict[str, KeyHolder]:
        """Return the keys with these digests, at most 500, in whatever state they are; those that exist, by digest."""
        ...

    async def note_used(self, key_ids: Collection[str], minute: float) -> None:
        """Note that keys were used in the minute that began at `minute`, in unix seconds. No version follows."""
        ...

    async def holder(self, key_id: str) -> KeyHolder:
        """Return the key with this id. Raises NotThere."""
        ...

    async def of_team(self, team: str, *, most: int | None = None, after: str | None = None) -> list[KeyHolder]:
        """Return the keys of a team, the oldest first: at most `most`, from behind the key with the id `after` on.

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
        """Record a key of a member. Raises NotThere."""
        ...

    async def revoke(self, key_id: str, actor: Actor) -> KeyHolder:
        """Refuse a key for good. Raises NotThere."""
        ...

    async def block(self, key_id: str, actor: Actor, *, is_blocked: bool = True) -> KeyHolder:
        """Refuse a key until it is unblocked, or unblock it. Raises NotThere; NotAllowed for a revoked one."""
        ...

    async def stop(self, key_id: str, actor: Actor, *, is_stopped: bool = True) -> KeyHolder:
        """Stop a key's spending, or let it go on. Raises NotThere; NotAllowed for a revoked one."""
        ...

    async def rotate(self, key_id: str, new: NewKey, grace_seconds: float, actor: Actor) -> KeyHolder:
        """Record a key in the place of an active one, which ends after `grace_seconds` or at its own time.

        The new key has the member, scopes and note of the old one, and lives as long as that was made to live.
        Raises NotThere; NotAllowed for a key that is not active, or was rotated already.
        """
        ...


class TeamCredentials(Protocol):
    """Sealed credentials of teams for backends."""

    async def add(self, credential: TeamCredential, actor: Actor) -> TeamCredential:
        """Record a sealed credential; the database sets its time. Raises NotThere where the team does not exist."""
        ...

    async def of_team(self, team_id: str) -> list[TeamCredential]:
        """Return the credentials in use of the team with this id, the oldest first."""
        ...

    async def remove(self, team: str, credential_id: str, actor: Actor) -> TeamCredential:
        """Take a credential out of use and erase its secret. Raises NotThere."""
        ...

    async def in_use(self) -> list[TeamCredential]:
        """Return the credentials in use of all teams."""
        ...

    async def replace_sealed(self, credential: TeamCredential, sealed: str) -> bool:
        """Compare-and-set what `credential.sealed` is, and return whether it was. No audit row or version follows."""
        ...


class AuditLog(Protocol):
    """The append-only log."""

    async def append(self, entry: AuditEntry) -> None:
        """Record an entry, other than that of an administrative change, which records its own."""
        ...

    async def entries(
        self, most: int, *, team_id: str | None = None, since: float | None = None, after: int = 0
    ) -> list[AuditEntry]:
        """Return at most `most` entries with an id above `after`, in the order of their ids."""
        ...

    async def delete_old(self, seconds: float) -> int:
        """Delete entries older than `seconds`, and return how many they were."""
        ...


class DirectoryFacts(Protocol):
    """The version of the directory, and its sealed pepper."""

    async def version(self) -> int:
        """Return a number that every administrative change increments."""
        ...

    async def pepper(self) -> str | None:
        """Return the sealed pepper; None before it is made."""
        ...

    async def keep_pepper(self, sealed: str) -> str:
        """Record the pepper unless there is one, and return the one that is recorded."""
        ...

    async def replace_pepper(self, before: str, sealed: str) -> bool:
        """Compare-and-set the pepper from `before` to `sealed`, and return whether it was `before`."""
        ...


@dataclass(frozen=True, slots=True)
class Directory:
    """The repositories of one database."""

    teams: Teams
    keys: ApiKeys
    credentials: TeamCredentials
    audit: AuditLog
    facts: DirectoryFacts
