"""Sign-in: clients, people, their grants, and the rules of refresh tokens that hold without a database."""

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.access import Scope
from app.domain.redirects import matches

LONGEST_CLIENT_NAME = 80
LONGEST_CLIENT_ID = 512
LONGEST_LABEL = 120

_INVISIBLE = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")


class Registration(StrEnum):
    """How this service has come to know a client."""

    DYNAMIC = "dynamic"
    """Dynamic Client Registration (RFC 7591)."""
    DOCUMENT = "document"
    """A Client ID Metadata Document: the client id is a URL, and the document at it describes the client."""
    MANUAL = "manual"
    """Registered by an operator."""


class ClientAuth(StrEnum):
    """How a client authenticates at the token endpoint."""

    NONE = "none"
    SECRET = "client_secret_post"  # noqa: S105 - the name of a method
    ASSERTION = "private_key_jwt"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A program that asks for access in a person's name. What it says about itself is not verified.

    Attributes:
        id: a random id, or the URL of its metadata document.
        secret_digest: stands for its secret; None for a client without one.
        jwks_uri: where its public keys are, for `private_key_jwt`.
        jwks: its public keys as JSON, where its document holds them.
        fresh_until: when its document is to be fetched again, in unix seconds; None without a document.

    """

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    registration: Registration
    auth: ClientAuth = ClientAuth.NONE
    secret_digest: str | None = field(default=None, repr=False)
    jwks_uri: str | None = None
    jwks: str | None = None
    fresh_until: float | None = None

    def redirects_to(self, uri: str) -> bool:
        """Return whether the client has registered this redirect URI."""
        return any(matches(registered, uri) for registered in self.redirect_uris)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A valid request at the authorization endpoint: redirect URI, state and PKCE challenge of the client.

    Attributes:
        scopes: those that the client asks for.
        login: whether the client wants the person to sign in again (`prompt=login` or `select_account`).

    """

    client_id: str
    redirect_uri: str
    state: str | None = field(repr=False)
    challenge: str = field(repr=False)
    scopes: frozenset[Scope]
    login: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """A person who has signed in.

    Attributes:
        id: a keyed hash of issuer and subject; names the person as a tenant.
        issuer: the URL of the login that vouches for the person.
        subject: the person's id there.
        sealed: the PersonSecrets, sealed for this id.
        checked_at: when a check of the login was last begun, in unix seconds.

    """

    id: str
    issuer: str
    subject: str
    sealed: str = field(repr=False)
    checked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class PersonSecrets:
    """What is known of a person and kept sealed.

    Attributes:
        label: the name that the person knows the account by, such as an email address.
        credential: what the backend is asked with; None where the person's team has it.
        login: what the upstream needs to tell whether the login is still alive, in a form of its own.
        teams: names of teams, one of which the person should belong to; None for a person who is a tenant alone.

    """

    label: str = field(repr=False)
    credential: str | None = field(default=None, repr=False)
    login: str | None = field(default=None, repr=False)
    teams: tuple[str, ...] | None = None


class RevokeReason(StrEnum):
    """Why a grant has ended before its time."""

    CLIENT = "client"
    """The client has revoked it (RFC 7009)."""
    PERSON = "person"
    """The person has ended it on the account page."""
    REPLAY = "replay"
    """A refresh token was used again after its grace: somebody else may have it."""
    CODE = "code"
    """An authorization code was used twice."""
    LOGIN = "login"
    """The login upstream is dead."""
    LIMIT = "limit"
    """The person has granted more than MOST_GRANTS; this was the one that was not used for longest."""


MOST_GRANTS = 100
"""Grants of one person. Some clients register anew with each connection, and leave their grants behind."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a person has allowed one client. Its refresh tokens are a family, of which one is current.

    Attributes:
        redirect_host: where the client was sent to, for people.
        generation: number of refreshes.
        current: digest of the current refresh token.
        previous: digest of the one before it; None in the first generation.
        rotated_at: when the current one was made.
        confirmed_at: when a token of the current generation was first used; None before that.
        refresh_until: when the current refresh token ends unless it is used.
        ends_at: when the grant ends in any case.
        last_used_at: to the minute.

    """

    id: str
    person_id: str
    client_id: str
    client_name: str
    redirect_host: str
    registration: Registration
    scopes: frozenset[Scope]
    generation: int
    current: str = field(repr=False)
    previous: str | None = field(repr=False)
    rotated_at: float
    confirmed_at: float | None
    refresh_until: float
    ends_at: float
    created_at: float
    last_used_at: float | None = None
    revoked_at: float | None = None
    reason: str | None = None

    def is_alive(self, now: float) -> bool:
        """Return whether the grant counts at `now`, by the database's clock."""
        return self.revoked_at is None and now < min(self.refresh_until, self.ends_at)


class RefreshJudgement(StrEnum):
    """What a presented refresh token is to its family."""

    CURRENT = "current"
    REPEATED = "repeated"
    """The one before, within its grace: it gets the same successor again."""
    REPLAYED = "replayed"
    """An older one, or the one before after its grace."""
    ENDED = "ended"
    """The grant has ended."""


def judge_refresh(grant: Grant, digest: str, now: float, grace_seconds: float) -> RefreshJudgement:
    """Return what the refresh token with this digest is, whose genuineness was checked.

    The token before the current one stays valid until a token of the current generation is used, because the answer
    with that may have been lost; and for `grace_seconds` after that, because a client may be several processes.
    """
    if digest not in (grant.current, grant.previous):
        return RefreshJudgement.REPLAYED if grant.is_alive(now) else RefreshJudgement.ENDED
    if not grant.is_alive(now):
        return RefreshJudgement.ENDED
    if digest == grant.current:
        return RefreshJudgement.CURRENT
    in_grace = grant.confirmed_at is None or now <= grant.confirmed_at + grace_seconds
    return RefreshJudgement.REPEATED if in_grace else RefreshJudgement.REPLAYED


def valid_client_name(text: str | None, otherwise: str) -> str:
    """Return a client's name as one short visible line; `otherwise` if nothing is left of it.

    Direction and control characters are removed, because they could make a consent page say something else.
    """
    visible = "".join(sign for sign in (text or "") if unicodedata.category(sign) not in _INVISIBLE)
    name = re.sub(r"\s+", " ", unicodedata.normalize("NFC", visible)).strip()
    return name[:LONGEST_CLIENT_NAME].strip() or otherwise[:LONGEST_CLIENT_NAME]
