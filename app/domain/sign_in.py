"""Sign-in: clients, people and grants, and the rules of refresh token rotation."""

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.access import Scope
from app.domain.redirects import matches
from app.domain.untrusted_text import without_invisible

MAX_CLIENT_NAME_LENGTH = 80
MAX_RAW_NAME_LENGTH = 1_000
"""Characters of a client's or person's name that are read. Normalization is quadratic in the accents on a letter."""

MAX_CLIENT_ID_LENGTH = 512


class Registration(StrEnum):
    """The way in which a client was registered."""

    DYNAMIC = "dynamic"
    """Dynamic Client Registration (RFC 7591)."""
    DOCUMENT = "document"
    """A Client ID Metadata Document: the client id is a URL, and the document at it describes the client."""
    MANUAL = "manual"
    """Registered by an operator."""


class ClientAuth(StrEnum):
    """The authentication method of a client at the token endpoint."""

    NONE = "none"
    SECRET = "client_secret_post"  # noqa: S105 - the name of a method
    ASSERTION = "private_key_jwt"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """An OAuth client: a program that requests access on behalf of a person. Its metadata are not verified.

    Attributes:
        id: a random id, or the URL of its metadata document.
        secret_digest: keyed hash of its secret; None for a client without one.
        jwks_uri: URL of its public keys, for `private_key_jwt`.
        jwks: its public keys as JSON, if they are in its document.
        fresh_until: time from which its document is fetched again, in unix seconds; None without a document.

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
        scopes: the requested scopes.
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
        id: keyed hash of issuer and subject. Without a team, the person's tasks are filed under it.
        issuer: URL of the upstream that authenticated the person.
        subject: the person's id at the issuer.
        sealed: the PersonSecrets, encrypted for this id.
        checked_at: start of the last check of the login, in unix seconds.

    """

    id: str
    issuer: str
    subject: str
    sealed: str = field(repr=False)
    checked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class PersonSecrets:
    """The data of a person that are stored encrypted.

    Attributes:
        label: name of the account for the person, such as an email address.
        credential: secret for the backend; None if the person's team has the credential.
        login: data with which the upstream can check the login, in a format of the upstream's adapter.
        teams: names of teams of which exactly one should exist; None for a person who is a tenant of their own.

    """

    label: str = field(repr=False)
    credential: str | None = field(default=None, repr=False)
    login: str | None = field(default=None, repr=False)
    teams: tuple[str, ...] | None = None


class RevokeReason(StrEnum):
    """The reason why a grant has ended before its expiry."""

    CLIENT = "client"
    """The client has revoked it (RFC 7009)."""
    PERSON = "person"
    """The person has ended it on the account page."""
    REPLAY = "replay"
    """A refresh token was used again after its grace period, so it may be stolen."""
    CODE = "code"
    """An authorization code was used twice."""
    LOGIN = "login"
    """The person's login at the upstream has ended."""
    OPERATOR = "operator"
    """An operator has ended it with `luma-mcp clients end`."""
    MEMBER = "member"
    """The person is no longer a member of the team: was removed, has left it, or the team was deleted."""
    LIMIT = "limit"
    """The person had more than MAX_GRANTS grants, and this one was the least recently used."""


MAX_GRANTS = 100
"""Limit of grants per person. Some clients register again with each connection, and abandon their grants."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The access that a person has granted to a client. Of its refresh tokens, one is current.

    Times are unix seconds by the database's clock.

    Attributes:
        redirect_host: host of the redirect URI, for display.
        generation: number of refreshes.
        current: digest of the current refresh token.
        previous: digest of the previous refresh token; None before the first refresh.
        rotated_at: when the current refresh token was issued.
        confirmed_at: when a token of the current generation was first used; None before that.
        refresh_until: expiry of the current refresh token. Each refresh extends it.
        ends_at: expiry of the grant. Nothing extends it.
        last_used_at: to the minute; None if never used.
        reason: the RevokeReason; None if the grant was not revoked.

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
        """Return whether the grant is neither revoked nor expired at `now`, by the database's clock."""
        return self.revoked_at is None and now < min(self.refresh_until, self.ends_at)


class RefreshJudgement(StrEnum):
    """The relation of a presented refresh token to its grant."""

    CURRENT = "current"
    REPEATED = "repeated"
    """The previous token within its grace period. The client gets the same successor again."""
    REPLAYED = "replayed"
    """An older token, or the previous token after its grace period."""
    ENDED = "ended"
    """The grant has ended."""


def judge_refresh(grant: Grant, digest: str, now: float, grace_seconds: float) -> RefreshJudgement:
    """Classify the refresh token with this digest. The caller has checked that this service issued it for `grant`.

    The previous token stays valid until a token of the current generation is used, because the response with the new
    tokens may have been lost. After that use, it stays valid for `grace_seconds`, because a client may consist of
    several processes.
    """
    if digest not in (grant.current, grant.previous):
        return RefreshJudgement.REPLAYED if grant.is_alive(now) else RefreshJudgement.ENDED
    if not grant.is_alive(now):
        return RefreshJudgement.ENDED
    if digest == grant.current:
        return RefreshJudgement.CURRENT
    in_grace = grant.confirmed_at is None or now <= grant.confirmed_at + grace_seconds
    return RefreshJudgement.REPEATED if in_grace else RefreshJudgement.REPLAYED


def visible_name(text: str | None, otherwise: str) -> str:
    """Return the name of a client or person as one visible line of at most MAX_CLIENT_NAME_LENGTH characters.

    Invisible characters are removed: they could make a consent page say something else, and models read them. If
    nothing is left, `otherwise` is returned, cut to the same length.
    """
    name = unicodedata.normalize("NFC", without_invisible((text or "")[:MAX_RAW_NAME_LENGTH]))
    return name[:MAX_CLIENT_NAME_LENGTH].strip() or otherwise[:MAX_CLIENT_NAME_LENGTH]
