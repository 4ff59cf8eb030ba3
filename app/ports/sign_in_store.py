"""Interfaces of the repositories of sign-in in the database, and what is recorded in them.

Every method raises DatabaseUnavailable, and may be repeated. Times are those of the database's clock.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.access import Scope
from app.domain.sign_in import Grant, OAuthClient, Person, RevokeReason


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A sign-in under way at the upstream.

    Attributes:
        state: digest of the state that will return in the URL.
        browser: digest of the secret in the browser's cookie.
        content: the request and the secrets of the attempt, sealed.

    """

    state: str
    browser: str
    content: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """A code, which one client may exchange once. `digest` stands for it.

    Attributes:
        grant_id: the grant that it was exchanged for; None before that.
        is_expired: whether its time was over when it was read.

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
    """An access token before it is recorded; `digest` stands for it."""

    digest: str
    scopes: frozenset[Scope]
    seconds: float


@dataclass(frozen=True, slots=True)
class NewGrant:
    """A grant before it is recorded; `refresh` is the digest of its first refresh token."""

    id: str
    refresh: str
    client: OAuthClient
    redirect_host: str


@dataclass(frozen=True, slots=True)
class TokenLifetimes:
    """How long tokens count, in seconds: access tokens, refresh tokens that nobody uses, and grants in any case."""

    access: float
    refresh: float
    grant: float
    grace: float


@dataclass(frozen=True, slots=True)
class AccessHolder:
    """An access token with its grant and person, as they were at `read_at` by the database's clock."""

    grant: Grant
    person: Person
    scopes: frozenset[Scope]
    generation: int
    expires_at: float
    read_at: float


class Clients(Protocol):
    """Registered clients, and what the documents of others say."""

    async def client(self, client_id: str) -> OAuthClient | None:
        """Return the client with this id; None where there is none."""
        ...

    async def register(self, client: OAuthClient, fingerprint: str | None) -> OAuthClient:
        """Record a client. If one with this fingerprint is there, return that one, and record nothing."""
        ...

    async def keep_document(self, client: OAuthClient, fresh_seconds: float) -> None:
        """Record what a client's document says, in the place of what it said before."""
        ...

    async def note_used(self, client_id: str) -> None:
        """Note that a person has granted a client something, or that it has used what was granted."""
        ...

    async def of_operator(self) -> list[OAuthClient]:
        """Return the clients that an operator has registered, by name."""
        ...

    async def remove(self, client_id: str) -> bool:
        """Delete a client that an operator has registered, and return whether it was there."""
        ...

    async def use_assertion(self, digest: str, seconds: float) -> bool:
        """Record the digest of an assertion for `seconds`, and return whether it is new."""
        ...

    async def delete_idle(self, unused_seconds: float, idle_seconds: float) -> int:
        """Delete clients that were not used for so long: `unused_seconds` since their registration if never."""
        ...


class People(Protocol):
    """People, and the browsers that they are signed in with."""

    async def keep(self, person: Person) -> None:
        """Record a person who has signed in, in the place of what was known. Tokens are looked up anew from then on."""
        ...

    async def person(self, person_id: str) -> Person | None:
        """Return the person with this id; None where there is none."""
        ...

    async def replace_sealed(self, person: Person, sealed: str) -> bool:
        """Compare-and-set what `person.sealed` is, and return whether it was."""
        ...

    async def claim_check(self, person: Person) -> bool:
        """Compare-and-set what `person.checked_at` is to the present, and return whether it was."""
        ...

    async def all_sealed(self, most: int, after: str) -> list[Person]:
        """Return at most `most` people with an id above `after`, by id."""
        ...

    async def add_session(self, digest: str, person_id: str, seconds: float) -> None:
        """Record that a browser is signed in."""
        ...

    async def in_session(self, digest: str) -> Person | None:
        """Return who is signed in with a browser; None where nobody is, or the time is over."""
        ...

    async def end_session(self, digest: str) -> None:
        """Sign a browser out."""
        ...

    async def end_sessions(self, person_id: str) -> None:
        """Sign a person out in every browser."""
        ...


class SignInSteps(Protocol):
    """Sign-ins under way at the upstream, and the codes that they end with."""

    async def add_pending(self, pending: PendingLogin, seconds: float) -> None:
        """Record a sign-in that is under way."""
        ...

    async def take_pending(self, state: str, browser: str) -> PendingLogin | None:
        """Return the sign-in with this state and browser, and delete it; None where there is none, or it is too old.

        A sign-in of another browser stays as it is.
        """
        ...

    async def add_code(self, code: AuthorizationCode, seconds: float) -> None:
        """Record a code."""
        ...

    async def code(self, digest: str) -> AuthorizationCode | None:
        """Return the code with this digest, used or not; None where there is none."""
        ...


class Grants(Protocol):
    """Grants and their tokens, from the exchange of a code to the last refresh."""

    async def redeem(
        self, code: AuthorizationCode, new: NewGrant, access: NewAccess, lifetimes: TokenLifetimes
    ) -> Grant | None:
        """Exchange a code for a grant with its tokens; None if it was exchanged already."""
        ...

    async def grant(self, grant_id: str) -> tuple[Grant, float] | None:
        """Return a grant, and the time when it was read; None where there is none."""
        ...

    async def rotate(self, grant: Grant, refresh: str, access: NewAccess, lifetimes: TokenLifetimes) -> bool:
        """Put the refresh token with the digest `refresh` in the place of `grant.current`.

        Return False, without a change, if that is current no more.
        """
        ...

    async def renew_access(self, grant: Grant, access: NewAccess) -> bool:
        """Let the access token of the current generation begin anew; False if another generation is current."""
        ...

    async def access(self, digest: str) -> AccessHolder | None:
        """Return who holds the access token with this digest; None where there is none that counts."""
        ...

    async def confirm(self, grant_id: str, generation: int) -> None:
        """Note that a token of this generation was used, unless that is known."""
        ...

    async def note_used(self, grant_ids: Collection[str], minute: float) -> None:
        """Note that grants were used in the minute that began at `minute`, in unix seconds."""
        ...

    async def of_person(self, person_id: str) -> list[Grant]:
        """Return the grants of a person that have not ended, the newest first."""
        ...

    async def revoke(self, grant_id: str, reason: RevokeReason, *, person_id: str | None = None) -> Grant | None:
        """End a grant, of `person_id` if given. Return it, or None where there is none that could be ended."""
        ...

    async def revoke_all(self, person_id: str, reason: RevokeReason) -> int:
        """End every grant of a person, and return how many they were."""
        ...

    async def version(self) -> int:
        """Return a number that every end of a grant increments, and every new sign-in of a known person."""
        ...

    async def delete_old(self, ended_seconds: float) -> int:
        """Delete expired codes, sign-ins, sessions and tokens, and grants that ended so long ago."""
        ...


@dataclass(frozen=True, slots=True)
class SignInStore:
    """The repositories of one database."""

    clients: Clients
    people: People
    steps: SignInSteps
    grants: Grants
