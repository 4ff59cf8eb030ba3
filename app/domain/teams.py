"""Teams, their members, keys and credentials, and the audit log: values and the rules that hold without a database."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from zoneinfo import available_timezones

from app.domain.access import Principal, Scope, Visibility
from app.domain.rate_limit import RateLimit

LONGEST_NAME = 64
LONGEST_NOTE = 200
LONGEST_DURATION = 3650 * 86_400
"""Seconds; ten years."""

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([mhd])")


@dataclass(frozen=True, slots=True)
class Team:
    """A group that shares tasks, credentials and budgets.

    Attributes:
        timezone: an IANA name; days, weeks and months of budgets begin by it.
        is_stopped: nobody of the team may spend; reads go on.
        allows_foreign_ids: members may read tasks that the team has not made.
        members_see_all: members see the tasks of the whole team, not only their own.
        asks_above: a generation that costs more has to be confirmed, in millionths; None asks for none.
        created_at: unix seconds by the database's clock, as every time here.

    """

    id: str
    name: str
    timezone: str
    is_stopped: bool
    allows_foreign_ids: bool
    members_see_all: bool
    created_at: float
    asks_above: int | None = None

    @property
    def visibility(self) -> Visibility:
        """Return whose tasks the members may read."""
        if not self.members_see_all:
            return Visibility.OWN
        return Visibility.ALL if self.allows_foreign_ids else Visibility.TEAM


@dataclass(frozen=True, slots=True)
class Member:
    """A person or program of one team; spending belongs to it, whichever of its keys is used."""

    id: str
    team_id: str
    name: str
    is_stopped: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class Membership:
    """A member with their team, and the limits in a window that apply to both."""

    member: Member
    team: Team
    limits: tuple[RateLimit, ...] = ()

    @property
    def is_stopped(self) -> bool:
        """Return whether spending is refused: the member or the team was stopped."""
        return self.member.is_stopped or self.team.is_stopped


@dataclass(frozen=True, slots=True)
class Person:
    """A person or program whom an identity provider names.

    Attributes:
        issuer: the URL of the identity provider.
        subject: the provider's lasting name for the person, in printable ASCII. Nobody else of this issuer has it.
        name: a valid name of a member, for lists. It may change, and another person may have it too.
        teams: valid names of teams, one of which should exist here.

    """

    issuer: str
    subject: str
    name: str
    teams: tuple[str, ...]


class KeyState(StrEnum):
    """Whether a key opens the door. A stopped key does, but may not spend."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    """Refused until it is unblocked."""
    EXPIRED = "expired"
    REVOKED = "revoked"
    """Refused for good."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a member. Neither the key nor its digest is in here.

    Attributes:
        hint: the prefix and the last characters, to recognise the key by.
        expires_at: None where the key does not expire.
        last_used_at: to the minute; None where the key was never used.
        replaced_by: id of the key that a rotation made.

    """

    id: str
    member_id: str
    hint: str
    scopes: frozenset[Scope]
    note: str
    is_blocked: bool
    is_stopped: bool
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None
    replaced_by: str | None = None

    def state(self, now: float) -> KeyState:
        """Return the state at `now`, by the database's clock."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        return KeyState.BLOCKED if self.is_blocked else KeyState.ACTIVE


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A key with its member and team, as they were at `read_at` by the database's clock.

    Attributes:
        limits: the limits in a window that apply to the key: its own, its member's and its team's.

    """

    key: ApiKey
    member: Member
    team: Team
    read_at: float
    limits: tuple[RateLimit, ...] = ()

    @property
    def is_stopped(self) -> bool:
        """Return whether spending is refused: the key, the member or the team was stopped."""
        return self.key.is_stopped or self.member.is_stopped or self.team.is_stopped


def principal_of(who: Membership | KeyHolder, scopes: frozenset[Scope], key: str | None = None) -> Principal:
    """Return a member as the caller that they are now, with what their team has set. `key` is the key's id."""
    return Principal(
        who.member.id,
        who.team.id,
        key=key,
        is_stopped=who.is_stopped,
        sees=who.team.visibility,
        asks_above=who.team.asks_above,
        scopes=scopes,
        limits=who.limits,
    )


@dataclass(frozen=True, slots=True)
class TeamCredential:
    """A secret of a team's for a backend. Removal empties `sealed`.

    Attributes:
        hint: the last characters of a long secret.
        removed_at: None while the credential is in use.

    """

    id: str
    team_id: str
    backend: str
    sealed: str = field(repr=False)
    hint: str
    created_at: float
    removed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes an administrative change: such as `cli:root` or `key:` and its id, and in which request."""

    name: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the audit log. Nothing in it is secret.

    Attributes:
        actor: who did it.
        action: what was done, as `team.create`.
        subject: the names of what it was done to.
        team_id: the team that it concerns, as `member_id` and `key_id`.
        before: values that have changed, as they were; None for what is new.
        after: the same values afterwards.
        amount: millionths of `unit`.
        id: ascending in the order of recording; None before that, as `at`.

    """

    actor: str
    action: str
    subject: str
    outcome: str = "done"
    team_id: str | None = None
    member_id: str | None = None
    key_id: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    amount: int | None = None
    unit: str | None = None
    task_id: str | None = None
    request_id: str | None = None
    id: int | None = None
    at: float | None = None


def valid_name(text: str) -> str:
    """Return the one spelling (NFC) of a team's or member's name. Raises ValueError with a sentence."""
    name = unicodedata.normalize("NFC", text)
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"A name has 1 to {LONGEST_NAME} visible characters, and no blank at its start or end.")
    return name


def valid_note(text: str) -> str:
    """Return the note of a key. Raises ValueError with a sentence."""
    if len(text) > LONGEST_NOTE or not text.isprintable():
        raise ValueError(f"A note has at most {LONGEST_NOTE} visible characters.")
    return text


def valid_timezone(text: str) -> str:
    """Return the name of a time zone. Raises ValueError with a sentence."""
    if text != "UTC" and text not in available_timezones():  # a machine without a database of zones knows UTC
        raise ValueError("A time zone is an IANA name such as Europe/Berlin or UTC, in this very spelling.")
    return text


def parsed_scopes(text: str) -> frozenset[Scope]:
    """Return scopes that are written with commas. Raises ValueError with a sentence."""
    names = {part.strip() for part in text.split(",")}
    if not names <= set(Scope):
        raise ValueError(f"Scopes are {', '.join(Scope)}, separated by commas.")
    return frozenset(map(Scope, names))


def written_scopes(scopes: frozenset[Scope]) -> str:
    """Return scopes with commas, in their one order."""
    return ",".join(scope for scope in Scope if scope in scopes)


def parsed_duration(text: str) -> int:
    """Return the seconds of a duration such as `30d`, `24h`, `90m` or `0`. Raises ValueError with a sentence."""
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if (match is None and text != "0") or seconds > LONGEST_DURATION:
        raise ValueError("A duration is a whole number of days, hours or minutes such as 30d, 24h or 90m, up to 3650d.")
    return seconds
