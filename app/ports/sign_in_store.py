"""Interfaces of the repositories of sign-in, and their records.

Every method raises DatabaseUnavailable, and is safe to retry. Times are unix seconds by the database's clock.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.access import Scope
from app.domain.sign_in import Grant, OAuthClient, Person, RevokeReason


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login in progress at the upstream.

    Attributes:
        state: digest of the `state` parameter that the upstream will return.
        browser: digest of the secret in the browser's cookie.
        content: the authorization request and the secrets of the attempt, sealed.

    """

    state: str
    browser: str
    content: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """An authorization code, which its client may exchange once.

    Attributes:
        digest: keyed hash of the code.
        challenge: PKCE challenge of the request.
        grant_id: the grant that it was exchanged for; None before that.
        is_expired: whether it had expired when it was read.

    """

    digest: str
    client_id: str
    redirect_uri: str
    challenge: str = field(repr=False)
    scopes: frozenset[Scope]
    person_id: str
    grant_id: str | None = None
    is_expired: bool = False


@dataclass(frozen=True, slots=True)
class NewAccess:
    """An access token to record, by its digest. `seconds` is its lifetime."""

    digest: str
    scopes: frozenset[Scope]
    seconds: float


@dataclass(frozen=True, slots=True)
class NewGrant:
    """A grant to record. `refresh` is the digest of its first refresh token."""

    id: str
    refresh: str
    client: OAuthClient
    redirect_host: str


@dataclass(frozen=True, slots=True)
class TokenLifetimes:
    """Lifetimes in seconds.

    Attributes:
        access: of an access token.
        refresh: of a refresh token that is not used.
        grant: of a grant, however often it is refreshed.
        grace: of the previous refresh token after the first use of its successor.

    """

    access: float
    refresh: float
    grant: float
    grace: float


@dataclass(frozen=True, slots=True)
class AccessHolder:
    """An access token with its grant and person, as they were at `read_at`.

    Attributes:
        generation: generation of the grant in which the token was issued.

    """

    grant: Grant
    person: Person
    scopes: frozenset[Scope]
    generation: int
    expires_at: float
    read_at: float


class Clients(Protocol):
    """Registered clients, and cached metadata documents of other clients."""

    async def client(self, client_id: str) -> OAuthClient | None:
        """Return the client with this id; None if there is none."""
        ...

    async def register(self, client: OAuthClient, fingerprint: str | None) -> OAuthClient:
        """Record a client. If one with this fingerprint exists, return that one, and record nothing."""
        ...

    async def keep_document(self, client: OAuthClient, fresh_seconds: float) -> None:
        """Record a client from its document, in place of an earlier record."""
        ...

    async def extend_document(self, client: OAuthClient, seconds: float) -> None:
        """Let a stored document be fresh for `seconds` from now, unless it was replaced since `client` was read."""
        ...

    async def delete_document(self, client: OAuthClient) -> None:
        """Delete a client that a document describes, unless it was replaced since `client` was read."""
        ...

    async def note_used(self, client_id: str) -> None:
        """Record the current time as the last use of a client: a new grant or a refresh."""
        ...

    async def of_operator(self) -> list[OAuthClient]:
        """Return the clients that an operator has registered, ordered by name."""
        ...

    async def remove(self, client_id: str) -> bool:
        """Delete a client that an operator has registered, and return whether it existed."""
        ...

    async def use_assertion(self, digest: str, seconds: float) -> bool:
        """Record the digest of an assertion for `seconds`, and return whether it is new."""
        ...

    async def delete_idle(self, unused_seconds: float, idle_seconds: float) -> int:
        """Delete clients not used for `idle_seconds`, or never used since their registration `unused_seconds` ago.

        Return their number. Clients that an operator registered are kept. Expired assertions are deleted too.
        """
        ...


class People(Protocol):
    """People, and their browser sessions."""

    async def keep(self, person: Person) -> None:
        """Record a person who has signed in, or replace the record. The version of the grants is incremented."""
        ...

    async def person(self, person_id: str) -> Person | None:
        """Return the person with this id; None if there is none."""
        ...

    async def replace_sealed(self, person: Person, sealed: str) -> bool:
        """Compare-and-set the secrets from `person.sealed` to `sealed`, and return whether they were replaced."""
        ...

    async def claim_check(self, person: Person) -> bool:
        """Compare-and-set the time of the login's last check from `person.checked_at` to now.

        Return whether the time was set.
        """
        ...

    async def all_sealed(self, limit: int, after: str) -> list[Person]:
        """Return at most `limit` people with an id above `after`, ordered by id."""
        ...

    async def add_session(self, digest: str, person_id: str, seconds: float) -> None:
        """Record a browser session of a person. `digest` is that of the session's secret."""
        ...

    async def in_session(self, digest: str) -> Person | None:
        """Return the person of a browser session; None if there is none or it has expired."""
        ...

    async def end_session(self, digest: str) -> None:
        """End a browser session."""
        ...

    async def end_sessions(self, person_id: str) -> None:
        """End all browser sessions of a person."""
        ...


class SignInSteps(Protocol):
    """Logins in progress at the upstream, and authorization codes."""

    async def add_pending(self, pending: PendingLogin, seconds: float) -> None:
        """Record a login in progress, which expires after `seconds`."""
        ...

    async def take_pending(self, state: str, browser: str) -> PendingLogin | None:
        """Delete and return the login with this state and browser; None if there is none or it has expired.

        A login of another browser is not changed.
        """
        ...

    async def add_code(self, code: AuthorizationCode, seconds: float) -> None:
        """Record a code, which expires after `seconds`."""
        ...

    async def code(self, digest: str) -> AuthorizationCode | None:
        """Return the code with this digest, used or not; None if there is none."""
        ...


class Grants(Protocol):
    """Grants and their tokens, from the exchange of a code to the last refresh."""

    async def redeem(
        self, code: AuthorizationCode, new: NewGrant, access: NewAccess, lifetimes: TokenLifetimes
    ) -> Grant | None:
        """Record a grant with its tokens for a code, and return it; None if the code was exchanged already."""
        ...

    async def grant(self, grant_id: str) -> tuple[Grant, float] | None:
        """Return a grant, and the time of the read; None if there is none."""
        ...

    async def rotate(self, grant: Grant, refresh: str, access: NewAccess, lifetimes: TokenLifetimes) -> bool:
        """Compare-and-set the current refresh token from `grant.current` to the digest `refresh`.

        `access` is the access token of the new generation. Return False, without a change, if `grant.current` is no
        longer current.
        """
        ...

    async def renew_access(self, grant: Grant, access: NewAccess) -> bool:
        """Restart the lifetime of the current generation's access token; False if another generation is current."""
        ...

    async def access(self, digests: Collection[str]) -> dict[str, AccessHolder]:
        """Return the access tokens with these digests, at most 500, by digest.

        Tokens that are unknown or expired, or whose grant was revoked, are left out.
        """
        ...

    async def confirm(self, first_uses: Collection[tuple[str, int]]) -> None:
        """Record the first use of a token of each grant, given by its id and the generation of the token.

        Later calls change nothing.
        """
        ...

    async def note_used(self, grant_ids: Collection[str], minute: float) -> None:
        """Record `minute` (unix seconds) as the last use of grants."""
        ...

    async def of_person(self, person_id: str) -> list[Grant]:
        """Return the grants of a person that have not ended, newest first."""
        ...

    async def revoke(self, grant_id: str, reason: RevokeReason, *, person_id: str | None = None) -> Grant | None:
        """End a grant and return it; None if it does not exist or has ended.

        With `person_id`, a grant of another person counts as one that does not exist.
        """
        ...

    async def revoke_all(self, person_id: str, reason: RevokeReason) -> int:
        """End all grants of a person, and return their number."""
        ...

    async def version(self) -> int:
        """Return a number that increases with each end of a grant and each sign-in of a person."""
        ...

    async def take_uncounted(self) -> list[RevokeReason]:
        """Return the reasons of ended grants that no metric has counted yet. Each is returned to one process only."""
        ...

    async def delete_old(self, ended_seconds: float) -> int:
        """Delete expired codes, logins, sessions and tokens, and grants that ended `ended_seconds` ago.

        Return the number of deleted rows.
        """
        ...


@dataclass(frozen=True, slots=True)
class SignInStore:
    """The repositories of one database."""

    clients: Clients
    people: People
    steps: SignInSteps
    grants: Grants
