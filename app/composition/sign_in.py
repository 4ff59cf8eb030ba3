"""Builds the authorization server: its upstream login, its services, and the limits for network addresses."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from app.adapters.auth.access_tokens import AccessTokenAuthenticator, CredentialHooks
from app.adapters.auth.assertions import JwtAssertions
from app.adapters.auth.client_documents import HOST_SECONDS, PER_HOST, TOTAL_TO_HOST_RATIO, HttpClientDocuments
from app.adapters.auth.content_sealer import VaultContentSealer
from app.adapters.auth.key_digest import KeyDigest, load_pepper
from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.auth.person_vault import VaultPersonSealer
from app.adapters.auth.public_fetch import PublicFetcher
from app.adapters.auth.sign_in_mint import SignInMint
from app.adapters.network_environment import EnvironmentFault
from app.adapters.sql.directory import SqlDirectoryFacts
from app.adapters.sql.sign_in import sql_sign_in
from app.adapters.sql.turns import DatabaseInTurns
from app.adapters.vault import CannotOpen, Vault
from app.composition.clocks import Clocks
from app.composition.login import USER_AGENT, Login, build_login
from app.domain.backend import BackendDescription
from app.observability.refusals import Refusals
from app.persistence import Persistence
from app.ports.auth import TokenCheck
from app.ports.repositories import DatabaseUnavailable
from app.ports.sign_in_store import SignInStore, TokenLifetimes
from app.services.batched_lookups import MAX_WAITING
from app.services.limits.address_limits import AddressLimit
from app.services.limits.database_turns import BROWSERS, CLIENTS, DatabaseTurns
from app.services.limits.token_status import TokenStatusCache
from app.services.sign_in.account import Account
from app.services.sign_in.client_auth import ClientAuthenticator
from app.services.sign_in.clients import ClientRegistry
from app.services.sign_in.flow import SignInFlow
from app.services.sign_in.grant_cache import GrantCache
from app.services.sign_in.joining import Joining
from app.services.sign_in.lazy_token_mint import LazyTokenMint
from app.services.sign_in.liveness import LoginCheck, SuspectLogins
from app.services.sign_in.login_places import MAX_WAIT_SECONDS as MAX_RETURN_SECONDS
from app.services.sign_in.login_places import MAX_WAITING as MAX_RETURNING
from app.services.sign_in.login_places import PLACES, LoginPlaces
from app.services.sign_in.requests import RequestCheck
from app.services.sign_in.retention import delete_expired
from app.services.sign_in.tokens import TokenService
from app.services.teams.opening import TeamDirectory
from app.services.version_follower import CacheClocks
from app.settings import Settings, SettingsError

GRANT_SECONDS = 180 * 86_400.0
"""Lifetime of a grant. After it the person must sign in again, however often the client has refreshed."""

TOTAL_SECONDS = 60.0
"""Window of the limits of all addresses together. A flood of strangers locks others out for at most this time."""

OTHER_KEY = "has secrets that another LUMA_MCP_SECRET_KEY has sealed: set that key, or add it after the current one"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignInLimits:
    """Limits for each network address, in this process.

    Attributes:
        pages: authorization requests and account pages.
        forms: forms that browsers send to those pages.
        returns: returns from the login that did not sign anybody in.
        tokens: requests to the token and revocation endpoints.
        registrations: requests to the registration endpoint.
        new_clients: registrations that create a client.
        fetches: fetches of client ID metadata documents.

    """

    pages: AddressLimit
    forms: AddressLimit
    returns: AddressLimit
    tokens: AddressLimit
    registrations: AddressLimit
    new_clients: AddressLimit
    fetches: AddressLimit


@dataclass(frozen=True, slots=True)
class SignIn:
    """The authorization server of one process. Only the composition and the HTTP application use this class.

    `joining` is None if the people who sign in belong to no teams.
    """

    public_url: str
    login: Login
    store: SignInStore
    flow: SignInFlow
    requests: RequestCheck
    joining: Joining | None
    account: Account
    tokens: TokenService
    clients: ClientAuthenticator
    registry: ClientRegistry
    limits: SignInLimits
    authenticator: TokenCheck
    cache: GrantCache
    suspects: SuspectLogins
    clocks: Clocks

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While entered, update the cache of grants, check suspect logins and delete expired rows."""
        work = (self.cache.run(), self.suspects.run(), delete_expired(self.store, self.clocks.sleep))
        async with self.login.running:
            tasks = [asyncio.create_task(coroutine) for coroutine in work]
            await asyncio.sleep(0)
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await self.login.upstream.aclose()


def build_sign_in(  # noqa: PLR0913, PLR0917 - the dependencies of sign-in
    settings: Settings,
    public_url: str,
    persistence: Persistence,
    directory: TeamDirectory[KeyDigest] | None,
    backend: BackendDescription,
    token_status: TokenStatusCache,
    turns: DatabaseTurns,
    clocks: Clocks,
    refusals: Refusals,
) -> SignIn:
    """Return the authorization server.

    Raises SettingsError for a proxy or certificate variable that cannot be used.
    """
    person_vault = VaultPersonSealer(Vault(*settings.secret_keys()))
    try:
        store = sql_sign_in(persistence.database, clocks.database)
        login = build_login(settings, person_vault, store.people, directory, backend, clocks, refusals)
        documents = _documents(public_url, clocks, refusals)
    except EnvironmentFault as exc:
        raise SettingsError(str(exc)) from None
    parts = _Parts(settings, public_url, persistence, turns, clocks, refusals, person_vault, store, login, documents)
    return parts.sign_in(token_status)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The dependencies of the services of sign-in. `store` is for work in the background, which waits for no turn."""

    settings: Settings
    public_url: str
    persistence: Persistence
    turns: DatabaseTurns
    clocks: Clocks
    refusals: Refusals
    person_vault: VaultPersonSealer
    store: SignInStore
    login: Login
    documents: HttpClientDocuments

    def sign_in(self, token_status: TokenStatusCache) -> SignIn:
        """Return the authorization server."""
        clocks, telemetry, limits = self.clocks, self.refusals.metrics, _limits(self.clocks, self.refusals)
        store, vault = self.store, Vault(*self.settings.secret_keys())
        mint = LazyTokenMint(
            partial(_load_mint, SqlDirectoryFacts(self.persistence.database), vault, store, self.person_vault)
        )
        pages, clients = self._store_of(BROWSERS), self._store_of(CLIENTS)
        page_registry, registry = (
            ClientRegistry(repositories.clients, self.documents, mint, limits.fetches, telemetry, clocks.wall)
            for repositories in (pages, clients)
        )
        requests = RequestCheck(page_registry, self.public_url)
        upstream = self.login.upstream
        page_logins, client_logins, suspect_logins = (
            LoginCheck(upstream, repositories, self.person_vault, telemetry, clocks.wall)
            for repositories in (pages, clients, store)
        )
        suspects = SuspectLogins(suspect_logins, store, clocks.sleep)
        times = CacheClocks(clocks.wall, clocks.monotonic, clocks.sleep)
        cache = GrantCache(store.grants, self.login.callers, times, telemetry, _token_reporter(self.refusals))
        hooks = CredentialHooks(token_status.was_refused, token_status.accept, suspects.enqueue)
        hasher = PassthroughAuthenticator(*self.settings.secret_keys())
        lifetimes = _lifetimes(self.settings)
        sealer, admission = VaultContentSealer(vault), self.login.admission
        places = LoginPlaces(_place_reporter(self.refusals))
        flow = SignInFlow(
            pages, mint, upstream, admission, page_logins, self.person_vault, sealer, requests, places, clocks.wall
        )
        teams = self.login.teams
        return SignIn(
            public_url=self.public_url,
            login=self.login,
            store=store,
            flow=flow,
            joining=Joining(teams.invitations, self.turns, mint, flow, sealer, clocks.wall) if teams else None,
            requests=requests,
            account=Account(pages.grants, telemetry),
            tokens=TokenService(clients, mint, client_logins, lifetimes, telemetry, self.public_url),
            clients=ClientAuthenticator(registry, clients.clients, self._assertions(), mint),
            registry=registry,
            limits=limits,
            authenticator=AccessTokenAuthenticator(cache, mint, clocks.monotonic, hasher.hash_token, hooks),
            cache=cache,
            suspects=suspects,
            clocks=clocks,
        )

    def _store_of(self, caller: str) -> SignInStore:
        """Return repositories for the requests of `caller`, BROWSERS or CLIENTS. They wait for the database in turn."""
        return sql_sign_in(DatabaseInTurns(self.persistence.database, self.turns, caller), self.clocks.database)

    def _assertions(self) -> JwtAssertions:
        audiences = (self.public_url, f"{self.public_url}/token", f"{self.public_url}/revoke")
        return JwtAssertions(audiences, self.clocks.wall)


def _documents(public_url: str, clocks: Clocks, refusals: Refusals) -> HttpClientDocuments:
    """Return the fetcher of client metadata documents.

    A service on plain http runs on loopback, and may then fetch documents from loopback as well.
    """
    fetcher = PublicFetcher(USER_AGENT, allows_loopback=public_url.startswith("http:"))
    effect = (
        f"Refused to fetch a client metadata document: the limits are {PER_HOST} fetches from one host in "
        f"{HOST_SECONDS:.0f} s, and {PER_HOST * TOTAL_TO_HOST_RATIO} in all. Cached documents are still used."
    )
    return HttpClientDocuments(fetcher, clocks.monotonic, refusals.reporter("document_fetches", effect))


def _token_reporter(refusals: Refusals) -> Callable[[], None]:
    """Return the reporter of look-ups of access tokens that are refused because too many wait."""
    effect = (
        f"Answered 503 to an access token: {MAX_WAITING} look-ups wait for the database already. Tokens that are "
        "cached are served. The database is slow."
    )
    return refusals.reporter("token_lookups", effect)


def _place_reporter(refusals: Refusals) -> Callable[[], None]:
    """Return the reporter of refused returns from the login: too many wait, or a return waited too long."""
    effect = (
        f"Refused to complete a sign-in with 503: {PLACES} are being completed at the login, and {MAX_RETURNING} more "
        f"wait, or one waited {MAX_RETURN_SECONDS:.0f} s. The login is slow, or somebody returns from it without end."
    )
    return refusals.reporter("sign_in_logins", effect)


def _lifetimes(settings: Settings) -> TokenLifetimes:
    return TokenLifetimes(
        access=settings.access_token_seconds,
        refresh=settings.refresh_token_seconds,
        grant=GRANT_SECONDS,
        grace=settings.refresh_grace_seconds,
    )


def _limits(clocks: Clocks, refusals: Refusals) -> SignInLimits:
    def limit(kind: str, per_address: int, in_all: int, seconds: float) -> AddressLimit:
        effect = (
            f"Refused requests of sign-in ({kind}): the limits are {per_address} for one address in {seconds:.0f} s, "
            f"and {in_all} in {TOTAL_SECONDS:.0f} s in all. Networks that signed in lately are not held to the "
            "limit in all. MCP calls are not limited by this."
        )
        on_refusal = refusals.reporter(kind, effect)
        return AddressLimit(per_address, in_all, seconds, clocks.monotonic, on_refusal, total_seconds=TOTAL_SECONDS)

    return SignInLimits(
        pages=limit("sign_in_pages", 60, 3000, 60.0),
        forms=limit("sign_in_forms", 120, 3000, 60.0),
        returns=limit("sign_in_returns", 20, 600, 60.0),
        tokens=limit("sign_in_tokens", 300, 6000, 60.0),
        registrations=limit("sign_in_registrations", 120, 1200, 60.0),
        new_clients=limit("sign_in_new_clients", 10, 60, 3600.0),
        fetches=limit("sign_in_fetches", 20, 300, 60.0),
    )


async def _load_mint(
    facts: SqlDirectoryFacts, vault: Vault, store: SignInStore, person_vault: VaultPersonSealer
) -> SignInMint:
    """Return the mint, after reading the pepper.

    As a side effect, re-encrypt the secrets of people if a former secret key has sealed these secrets.
    Raises DatabaseUnavailable, also if the pepper is sealed under an unknown secret key.
    """
    try:
        mint = SignInMint(await load_pepper(facts, vault))
    except CannotOpen:
        log.error("Nobody can sign in: the database %s, and restart", OTHER_KEY)  # noqa: TRY400 - a wrong setting
        raise DatabaseUnavailable(OTHER_KEY) from None
    await person_vault.seal_again(store.people)
    return mint
