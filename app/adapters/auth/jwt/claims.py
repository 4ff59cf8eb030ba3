"""Checks the claims of a JWT, and reads the holder and the scopes from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.adapters.auth.jwt.faults import TokenRefused
from app.domain.access import Scope
from app.domain.teams import Person, name_for, valid_name
from app.ports.auth import TokenFault

LEEWAY_SECONDS = 30.0
"""Accepted difference between the issuer's clock and this one."""

MAX_SUBJECT_LENGTH = 255
"""Maximum length, in characters, of `sub`. Source: OpenID Connect Core 1.0, section 2."""

MAX_TEAMS = 200
"""Values of the team claim that are read. An issuer may list all groups of a person there."""

ACCESS_TOKEN_KIND = "bearer"  # noqa: S105 - the name of a kind of token
"""The claim `typ` in Keycloak's access tokens, in lower case. Its other tokens have `ID` or `Refresh`."""

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Names of claims that no standard defines and that differ between issuers.

    Attributes:
        team: the claim with the name of a team, or with a list of names, one of which is a team.
        member: the claim with the person's name, which lists of members show.
        scopes: claims with scopes, each a list or a text that separates scopes by spaces.
        scopes_by_name: the scopes of this service, by the issuer's names for them. Other names are ignored.

    """

    team: str
    member: str
    scopes: tuple[str, ...]
    scopes_by_name: Mapping[str, Scope]


def check_claims(claims: Claims, audiences: frozenset[str], now: float) -> None:
    """Raise TokenRefused unless a token with these claims is for one of `audiences`, and valid at `now`.

    A token that is bound to a key of its holder (RFC 7800) is refused, because this service requires no proof of
    possession of that key.
    """
    kind = claims.get("typ", ACCESS_TOKEN_KIND)
    if "cnf" in claims or not isinstance(kind, str) or kind.lower() != ACCESS_TOKEN_KIND:
        raise TokenRefused(TokenFault.CLAIMS)
    if not audiences & audiences_of(claims):
        raise TokenRefused(TokenFault.AUDIENCE)
    check_times_and_subject(claims, now)


def audiences_of(claims: Claims) -> frozenset[str]:
    """Return the audiences that a token is for."""
    return frozenset(_texts(claims.get("aud")))


def check_times_and_subject(claims: Claims, now: float) -> None:
    """Raise TokenRefused unless a token with these claims is valid at `now` (Unix seconds), and `sub` is acceptable.

    `sub` must be printable ASCII of at most MAX_SUBJECT_LENGTH characters.
    """
    if now >= expires_at(claims) + LEEWAY_SECONDS:
        raise TokenRefused(TokenFault.EXPIRED)
    if any(name in claims and _time(claims, name) > now + LEEWAY_SECONDS for name in ("nbf", "iat")):
        raise TokenRefused(TokenFault.PREMATURE)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT_LENGTH:
        raise TokenRefused(TokenFault.CLAIMS)
    if not subject.isascii() or not subject.isprintable():
        raise TokenRefused(TokenFault.CLAIMS)


def expires_at(claims: Claims) -> float:
    """Return the expiry of the token in Unix seconds. Raises TokenRefused."""
    return _time(claims, "exp")


def person_of(claims: Claims, names: ClaimNames) -> Person:
    """Return the holder of a token. Its claims must have been checked."""
    subject: str = claims["sub"]
    named_teams = [name.removeprefix("/") for name in _texts(claims.get(names.team))[:MAX_TEAMS]]
    teams = dict.fromkeys(valid for name in named_teams if (valid := _valid_name_or_none(name)) is not None)
    name = claims.get(names.member)
    display_name = (
        (_valid_name_or_none(name) if isinstance(name, str) else None)
        or _valid_name_or_none(subject)
        or name_for(subject)
    )
    return Person(claims["iss"], subject, display_name, tuple(teams))


def scopes_of(claims: Claims, names: ClaimNames) -> frozenset[Scope]:
    """Return the scopes that a token grants. Scopes of other services are left out."""
    scope_lists = (_words(claims.get(claim)) for claim in names.scopes)
    known = names.scopes_by_name
    return frozenset(known[name] for scopes in scope_lists for name in scopes if name in known)


def _valid_name_or_none(name: str) -> str | None:
    try:
        return valid_name(name)
    except ValueError:
        return None


def _texts(value: object) -> list[str]:
    """Return the strings in a claim that is a string or a list."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def _words(value: object) -> list[str]:
    return value.split(" ") if isinstance(value, str) else _texts(value)


def _time(claims: Claims, name: str) -> float:
    """Return the claim `name`, a NumericDate (RFC 7519). Raises TokenRefused if it is absent or not a finite number."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused(TokenFault.CLAIMS)
    try:
        seconds = float(value)
    except OverflowError:
        raise TokenRefused(TokenFault.CLAIMS) from None
    if not math.isfinite(seconds):
        raise TokenRefused(TokenFault.CLAIMS)
    return seconds
