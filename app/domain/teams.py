"""Teams, members, keys, credentials and audit entries, and the rules for their values."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from zoneinfo import available_timezones

from app.domain.access import Principal, Scope, Visibility
from app.domain.calendar import NO_PLACES
from app.domain.rate_limit import RateLimit
from app.domain.untrusted_text import has_invisible, without_invisible

MAX_NAME_LENGTH = 64
MAX_UNNORMALIZED_LENGTH = 4 * MAX_NAME_LENGTH
"""Longest text that can be a name after normalization, which is quadratic in the accents on one letter."""

MAX_NOTE_LENGTH = 200
MAX_SUBJECT_SHOWN = 40
"""Characters of a subject in the name of a person who has no other name."""

MAX_DURATION_SECONDS = 3650 * 86_400
"""Ten years."""

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([mhd])")


@dataclass(frozen=True, slots=True)
class Team:
    """A group that shares tasks, credentials and budgets.

    Attributes:
        timezone: an IANA name. Days, weeks and months of budgets begin at midnight there.
        is_stopped: whether nobody in the team may spend. Reads are still allowed.
        allows_foreign_ids: whether members may read tasks that the team has not bought.
        members_see_all: whether members see the tasks of the whole team, not only their own.
        created_at: unix seconds by the database's clock, like all times in this module.
        asks_above: price, in millionths of its unit, above which a generation has to be confirmed; None means never.

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
        """The tasks that members may read."""
        if not self.members_see_all:
            return Visibility.OWN
        return Visibility.ALL if self.allows_foreign_ids else Visibility.TEAM


@dataclass(frozen=True, slots=True)
class Member:
    """A person or program in a team. Spending is counted for the member, whichever of its keys is used.

    Attributes:
        removed_at: None for a present member. A former one is kept, because spending and tasks refer to it.

    """

    id: str
    team_id: str
    name: str
    is_stopped: bool
    created_at: float
    removed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """A member with its team, and the rate limits of both.

    Attributes:
        is_personal: whether the team was created for this person alone, who sets its credential.
        is_joined: whether the person has joined the team by an invitation, and may therefore leave it.

    """

    member: Member
    team: Team
    limits: tuple[RateLimit, ...] = ()
    is_personal: bool = False
    is_joined: bool = False

    @property
    def is_stopped(self) -> bool:
        """Whether spending is refused, because the member or the team is stopped."""
        return self.member.is_stopped or self.team.is_stopped


@dataclass(frozen=True, slots=True)
class Person:
    """A person or program that an identity provider has authenticated.

    Attributes:
        issuer: URL of the identity provider.
        subject: permanent id of the person, unique within the issuer, in printable ASCII.
        name: display name, valid as a member's name. It may change, and is not unique.
        teams: valid team names, of which exactly one should exist in this service.

    """

    issuer: str
    subject: str
    name: str
    teams: tuple[str, ...]


class KeyState(StrEnum):
    """The state of a key. Only an active key is accepted. A stopped key may be active, but may not spend."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    """Refused until it is unblocked."""
    EXPIRED = "expired"
    REVOKED = "revoked"
    """Refused permanently."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The record of a key of a member, without the secret key and its digest.

    Attributes:
        hint: prefix and last characters of the key, for recognition.
        expires_at: None if the key does not expire.
        last_used_at: to the minute; None if the key was never used.
        replaced_by: id of the key that replaced it in a rotation; None if it was not rotated.

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
        limits: the rate limits that apply to the key: its own, its member's and its team's.

    """

    key: ApiKey
    member: Member
    team: Team
    read_at: float
    limits: tuple[RateLimit, ...] = ()

    @property
    def is_stopped(self) -> bool:
        """Whether spending is refused, because the key, the member or the team is stopped."""
        return self.key.is_stopped or self.member.is_stopped or self.team.is_stopped


def principal_of(who: Membership | KeyHolder, scopes: frozenset[Scope], key: str | None = None) -> Principal:
    """Return the principal of a member, with the settings of the team. `key` is the id of the key used, if any."""
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
    """A credential of a team for a backend.

    Attributes:
        sealed: the encrypted secret; empty after removal.
        hint: the last characters of the secret, if it is long enough.
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
    """The author of an administrative change.

    Attributes:
        name: such as `cli:root`, or `key:` with the id of a key.
        request_id: id of the HTTP request; None outside of HTTP.

    """

    name: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit log, without secrets.

    Attributes:
        actor: name of the author.
        action: the operation, such as `team.create`.
        subject: the changed object, by names and ids, such as `film/anna` for a member of a team.
        team_id: the team concerned. `member_id` and `key_id` are the member and the key concerned.
        before: the changed values before the change; None if the object is new.
        after: the same values after the change.
        amount: millionths of `unit`.
        outcome: the PurchaseState of a purchase; "done" for any other operation.
        id: ascending in the order of recording; None until the entry is recorded.
        at: time of the change; None until the entry is recorded, if the change has not set it.

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
    """Return a team's or member's name in its canonical spelling (NFC). Raises ValueError with a sentence."""
    name = unicodedata.normalize("NFC", text) if len(text) <= MAX_UNNORMALIZED_LENGTH else text
    if not 1 <= len(name) <= MAX_NAME_LENGTH or has_invisible(name) or name != name.strip():
        raise ValueError(f"A name has 1 to {MAX_NAME_LENGTH} visible characters, and no blank at its start or end.")
    return name


def name_for(subject: str) -> str:
    """Return a valid name for a person without one, from `subject`, the id of the person at an issuer."""
    return f"{without_invisible(subject[:MAX_SUBJECT_SHOWN])}…"


def valid_note(text: str) -> str:
    """Return `text` if it is valid as the note of a key. Raises ValueError with a sentence."""
    if len(text) > MAX_NOTE_LENGTH or has_invisible(text):
        raise ValueError(f"A note has at most {MAX_NOTE_LENGTH} visible characters.")
    return text


def valid_timezone(text: str) -> str:
    """Return `text` if it is the name of an IANA time zone. Raises ValueError with a sentence."""
    if text != "UTC" and text not in available_timezones() - NO_PLACES:  # UTC needs no time zone database
        raise ValueError("A time zone is an IANA name such as Europe/Berlin or UTC, in this very spelling.")
    return text


def parsed_scopes(text: str) -> frozenset[Scope]:
    """Parse scopes separated by commas. Raises ValueError with a sentence."""
    names = {part.strip() for part in text.split(",")}
    if not names <= set(Scope):
        raise ValueError(f"Scopes are {', '.join(Scope)}, separated by commas.")
    return frozenset(map(Scope, names))


def written_scopes(scopes: frozenset[Scope]) -> str:
    """Format scopes, separated by commas, in the order of their definition."""
    return ",".join(scope for scope in Scope if scope in scopes)


def parsed_duration(text: str) -> int:
    """Parse a duration such as `30d`, `24h`, `90m` or `0` into seconds. Raises ValueError with a sentence."""
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if (match is None and text != "0") or seconds > MAX_DURATION_SECONDS:
        raise ValueError("A duration is a whole number of days, hours or minutes such as 30d, 24h or 90m, up to 3650d.")
    return seconds


def parsed_lifetime(text: str) -> int:
    """Parse a duration other than 0 into seconds. Raises ValueError with a sentence."""
    if (seconds := parsed_duration(text)) == 0:
        raise ValueError("A lifetime is at least one minute, such as 30d, 24h or 90m.")
    return seconds
