"""Principals (authenticated callers), their permissions, and credentials for the backend."""

from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.rate_limit import RateLimit


class Scope(StrEnum):
    """A permission of a caller. Each tool needs one."""

    READ = "read"
    GENERATE = "generate"
    ADMIN = "admin"
    """Administration of teams. No tool needs it."""


class Visibility(StrEnum):
    """The tasks that a caller may read."""

    ALL = "all"
    """All tasks that the backend returns for the caller's credential."""
    TEAM = "team"
    """The tasks that the caller's team has bought."""
    OWN = "own"
    """The tasks that the caller has bought."""


PASSTHROUGH_SCOPES = frozenset({Scope.READ, Scope.GENERATE})
"""The scopes of a caller whose bearer token is the credential for the backend."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, without secrets.

    Attributes:
        subject: id of the caller, such as a keyed hash of the token. It may appear in keys and logs.
        team: id of the team that the caller acts for; None outside of teams.
        key: id of the team key that the caller used; None if the caller used another kind of token.
        is_stopped: whether the caller may not spend. Reads are still allowed.
        sees: the tasks that the caller may read.
        asks_above: price, in millionths of its unit, above which a generation has to be confirmed; None means never.
        scopes: permissions of the caller.
        limits: rate limits of the caller's team, member and key. All of them apply.
        former: the subjects that the same token has under the service's former secret keys, in the order of these keys.

    """

    subject: str
    team: str | None = None
    key: str | None = None
    is_stopped: bool = False
    sees: Visibility = Visibility.ALL
    asks_above: int | None = None
    scopes: frozenset[Scope] = PASSTHROUGH_SCOPES
    limits: tuple[RateLimit, ...] = ()
    former: tuple[str, ...] = ()

    @property
    def owner(self) -> str:
        """The id under which tasks are cached, polled and recorded: the team, else the subject."""
        return self.team or self.subject

    @property
    def only_member(self) -> str | None:
        """The member whose tasks alone the caller may read; None if the caller may read other tasks too."""
        return self.subject if self.sees is Visibility.OWN else None

    @property
    def owners(self) -> tuple[str, ...]:
        """All ids under which purchases may be recorded: the owner, then its ids under former secret keys."""
        return (self.team,) if self.team is not None else (self.subject, *self.former)


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential for calls to the backend.

    Attributes:
        id: keyed hash of the secret. It may appear in keys and logs.
        secret: the token itself. It is sent to the backend only.

    """

    id: str
    secret: str = field(repr=False)
