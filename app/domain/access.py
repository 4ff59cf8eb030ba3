"""Who calls, what they may do, and what the backend is asked with for them."""

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
    """Which tasks a caller may read, beside those that the backend would not show."""

    ALL = "all"
    TEAM = "team"
    """Those that the caller's team has made."""
    OWN = "own"
    """Those that the caller has made."""


PASSTHROUGH_SCOPES = frozenset({Scope.READ, Scope.GENERATE})
"""The scopes of a caller who brings a credential of their own."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. Nothing in it is secret.

    Attributes:
        subject: a keyed hash that names the caller: equal for equal callers, safe in keys and logs.
        team: the team that the caller acts for; None outside of teams.
        key: id of the team key that the caller used; None without one.
        is_stopped: the caller may not spend. Reads go on.
        sees: whose tasks the caller may read.
        asks_above: a generation that costs more has to be confirmed, in millionths; None asks for none.
        scopes: what the caller may do.
        limits: how often the caller may call and generate, in sliding windows. All of them apply at once.
        former: names of the subject under the service's older secret keys, in their order.

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
        """Return the name under which tasks are cached, watched and recorded: the team, else the subject."""
        return self.team or self.subject

    @property
    def only_member(self) -> str | None:
        """Return the member whose tasks alone the caller may see; None where there is no such limit."""
        return self.subject if self.sees is Visibility.OWN else None

    @property
    def owners(self) -> tuple[str, ...]:
        """Return every name under which purchases may be recorded: the owner, then its names under older keys."""
        return (self.team,) if self.team is not None else (self.subject, *self.former)


@dataclass(frozen=True, slots=True)
class Credential:
    """What the backend is asked with.

    Attributes:
        id: a keyed hash of the secret: equal for equal secrets, safe in keys and logs.
        secret: the token itself, sent to the backend and shown nowhere.

    """

    id: str
    secret: str = field(repr=False)
