"""The way of a person from the authorization endpoint to the client: consent, login upstream, code.

Nothing is recorded before the person has agreed. Each step can be taken on any replica: what it needs is sealed in the
form that the browser holds, or in the database. Both are bound to a secret in a cookie of that browser.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.domain.access import Scope
from app.domain.oauth import OAuthError
from app.domain.sign_in import AuthorizationRequest, Person
from app.ports.sign_in import ContentSealer, LoginAttempt, PersonVault, Upstream
from app.ports.sign_in_store import AuthorizationCode, PendingLogin, SignInStore
from app.services.sign_in.liveness import LoginCheck
from app.services.sign_in.opening import OpenMint
from app.services.sign_in.requests import RequestCheck, request_content, request_of

CONSENT_SECONDS = 900.0
"""How long a consent page can be answered, and how long a login may take."""

CODE_SECONDS = 120.0
SESSION_SECONDS = 12 * 3600.0
"""How long a browser stays signed in to the account page, and need not log in again for another client."""

LONGEST_SEALED = 16_384
_CONSENT, _PENDING, _FORM = "consent", "login", "form"


class FlowEnded(Exception):
    """A sign-in cannot go on. `str()` is a sentence for the person in the browser."""


@dataclass(frozen=True, slots=True)
class Browser:
    """The secrets in a browser's cookies: one that binds it to its sign-ins, one of its session, if it has one."""

    secret: str = field(repr=False)
    session: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """Where a browser goes next, and the secret of its new session if it has just signed in."""

    url: str
    session: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Consent:
    """What the consent page needs: the sealed request for its form, and the account that the browser is signed in to.

    Attributes:
        label: None where the person signs in after agreeing.

    """

    sealed: str = field(repr=False)
    label: str | None = field(repr=False)


class SignInFlow:
    """Leads people through sign-ins. Every method raises DatabaseUnavailable."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a sign-in
        self,
        store: SignInStore,
        mint: OpenMint,
        upstream: Upstream,
        logins: LoginCheck,
        vault: PersonVault,
        sealer: ContentSealer,
        requests: RequestCheck,
        wall_clock: Callable[[], float],
    ) -> None:
        """Sign people in with `upstream`."""
        self._store = store
        self._mint = mint
        self._upstream = upstream
        self._logins = logins
        self._vault = vault
        self._sealer = sealer
        self._requests = requests
        self._wall_clock = wall_clock

    async def consent(self, request: AuthorizationRequest, browser: Browser) -> Consent:
        """Return what the consent page for `request` needs in this browser."""
        person = None if request.login else await self.person(browser)
        known = self._vault.open(person) if person is not None else None
        content = {
            "request": request_content(request),
            "person": person.id if person is not None and known is not None else None,
            "until": self._wall_clock() + CONSENT_SECONDS,
        }
        sealed = self._sealer.seal(_CONSENT, content, browser.secret)
        return Consent(sealed, known.label if known is not None else None)

    async def denied(self, sealed: str, browser: Browser) -> Step:
        """Return the way back to the client after the person has declined. Raises FlowEnded."""
        request, _ = self._consented(sealed, browser)
        error = OAuthError("access_denied", "The person has declined.")
        return Step(self._requests.error_url(request.redirect_uri, request.state, error))

    async def approved(self, sealed: str, browser: Browser, *, read_only: bool) -> Step:
        """Return the way to the login, or to the client if the browser is signed in as the page has shown.

        Raises FlowEnded and LoginUnavailable.
        """
        request, shown = self._consented(sealed, browser)
        if read_only:
            request = replace(request, scopes=request.scopes & {Scope.READ} or frozenset({Scope.READ}))
        person = await self.person(browser) if shown is not None else None
        if person is not None and person.id == shown and await self._logins.is_alive(person, at_once=True):
            return await self._with_code(request, person)
        return await self._to_login({"request": request_content(request), "person": shown}, browser)

    async def account_login(self, browser: Browser) -> Step:
        """Return the way to the login for the account page. Raises LoginUnavailable."""
        return await self._to_login({"request": None, "person": None}, browser)

    async def returned(self, query: Mapping[str, str], browser: Browser, account_url: str) -> Step:
        """Return the way to the client, or to the account page, after the login.

        Raises FlowEnded, LoginRefused and LoginUnavailable.
        """
        mint = await self._mint.mint()
        digests = mint.digest(query.get("state", "")), mint.digest(browser.secret)
        pending = await self._store.steps.take_pending(*digests)
        content = self._sealer.unseal(_PENDING, pending.content, *digests) if pending is not None else None
        if content is None:
            raise FlowEnded(
                "This sign-in has ended, was finished already, or was begun in another browser, so nothing was allowed."
            )
        request = request_of(content["request"]) if content["request"] is not None else None
        if query.get("error") == "access_denied":
            return self._after_refusal(request, account_url)
        attempt = LoginAttempt(query["state"], content["verifier"], content["nonce"])
        signed_in = await self._upstream.finish(attempt, query)
        person_id = mint.person_id(signed_in.issuer, signed_in.subject)
        sealed = self._vault.seal(person_id, signed_in.secrets)
        person = Person(person_id, signed_in.issuer, signed_in.subject, sealed)
        await self._store.people.keep(person)
        session = mint.random()
        await self._store.people.add_session(mint.digest(session), person.id, SESSION_SECONDS)
        if request is None:
            return Step(account_url, session)
        if content["person"] not in (None, person.id):
            raise FlowEnded("You have signed in with another account than the page has shown, so nothing was allowed.")
        return replace(await self._with_code(request, person), session=session)

    async def person(self, browser: Browser) -> Person | None:
        """Return who is signed in with a browser; None where nobody is."""
        if browser.session is None:
            return None
        mint = await self._mint.mint()
        return await self._store.people.in_session(mint.digest(browser.session))

    def label(self, person: Person) -> str:
        """Return the name that a person knows the account by."""
        known = self._vault.open(person)
        return known.label if known is not None else person.subject

    def form_token(self, browser: Browser) -> str:
        """Return a token for the forms of a page that this browser has opened: another each time."""
        return self._sealer.seal(_FORM, {"until": self._wall_clock() + SESSION_SECONDS}, browser.secret)

    def is_form_token(self, text: str, browser: Browser) -> bool:
        """Return whether a form comes from a page that this browser has opened, not long ago."""
        content = self._sealer.unseal(_FORM, text, browser.secret) if len(text) <= LONGEST_SEALED else None
        return content is not None and content["until"] > self._wall_clock()

    async def sign_out(self, browser: Browser) -> None:
        """Sign a browser out. Its clients keep what was granted to them."""
        if browser.session is not None:
            mint = await self._mint.mint()
            await self._store.people.end_session(mint.digest(browser.session))

    def _consented(self, sealed: str, browser: Browser) -> tuple[AuthorizationRequest, str | None]:
        """Return the request that a consent page has shown, and the id of the person that it has named."""
        content = self._sealer.unseal(_CONSENT, sealed, browser.secret) if len(sealed) <= LONGEST_SEALED else None
        if content is None:
            raise FlowEnded("This page was not opened in this browser, or the browser keeps no cookies for this site.")
        if content["until"] <= self._wall_clock():
            raise FlowEnded("This page was open for too long.")
        return request_of(content["request"]), content["person"]

    def _after_refusal(self, request: AuthorizationRequest | None, account_url: str) -> Step:
        if request is None:
            return Step(account_url)
        error = OAuthError("access_denied", "The person has not signed in.")
        return Step(self._requests.error_url(request.redirect_uri, request.state, error))

    async def _with_code(self, request: AuthorizationRequest, person: Person) -> Step:
        mint = await self._mint.mint()
        code = mint.code()
        record = AuthorizationCode(
            mint.digest(code), request.client_id, request.redirect_uri, request.challenge, request.scopes, person.id
        )
        await self._store.steps.add_code(record, CODE_SECONDS)
        return Step(self._requests.code_url(request, code))

    async def _to_login(self, content: dict[str, Any], browser: Browser) -> Step:
        mint = await self._mint.mint()
        attempt = LoginAttempt(mint.random(), mint.random(), mint.random())
        url = await self._upstream.begin(attempt)
        digests = mint.digest(attempt.state), mint.digest(browser.secret)
        sealed = self._sealer.seal(_PENDING, content | {"verifier": attempt.verifier, "nonce": attempt.nonce}, *digests)
        await self._store.steps.add_pending(PendingLogin(*digests, sealed), CONSENT_SECONDS)
        return Step(url)
