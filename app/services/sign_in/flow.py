"""The authorization code flow for a person: consent page, login at the upstream, redirect to the client with a code.

Nothing is recorded before the person has agreed. Any replica can serve each step: the state of the flow is sealed in
the form of the consent page, or stored in the database. Both are bound to a secret in a cookie of the browser.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.domain.access import Scope
from app.domain.oauth import OAuthError
from app.domain.sign_in import AuthorizationRequest, Person
from app.ports.admission import Admission
from app.ports.sign_in import ContentSealer, LoginAttempt, LoginRefused, PersonVault, SignedIn, Upstream
from app.ports.sign_in_store import AuthorizationCode, PendingLogin, SignInStore
from app.services.sign_in.lazy_token_mint import LazyTokenMint
from app.services.sign_in.liveness import LoginCheck
from app.services.sign_in.login_places import LoginPlaces
from app.services.sign_in.requests import RequestCheck, request_content, request_of

CONSENT_SECONDS = 900.0
"""Time limit for answering a consent page, and for the login at the upstream."""

CODE_SECONDS = 120.0
"""Lifetime of an authorization code."""

SESSION_SECONDS = 12 * 3600.0
"""Lifetime of a browser's session, in which the account page and other clients need no new login."""

MAX_SEALED_LENGTH = 16_384
"""Longest accepted sealed form field, in characters."""

_CONSENT, _PENDING, _FORM = "consent", "login", "form"
_NOT_BEGUN = "This sign-in has ended, was finished already, or was begun in another browser, so nothing was allowed."


class FlowEnded(Exception):
    """A sign-in cannot go on. `str()` is a sentence for the person in the browser."""


@dataclass(frozen=True, slots=True)
class Browser:
    """The secrets in a browser's cookies.

    Attributes:
        secret: binds the steps of a sign-in to this browser.
        session: identifies the session; None if the browser is not signed in.

    """

    secret: str = field(repr=False)
    session: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ShownPage:
    """A page with a form. `person_id` is whose account it showed; None if it showed none."""

    person_id: str | None


@dataclass(frozen=True, slots=True)
class BrowserRedirect:
    """The URL to redirect the browser to, and the secret of its new session if it has just signed in."""

    url: str
    session: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Consent:
    """The contents of a consent page.

    Attributes:
        sealed: the sealed authorization request, for a hidden field of the form.
        label: name of the account that the browser is signed in to; None if the person signs in after agreeing.

    """

    sealed: str = field(repr=False)
    label: str | None = field(repr=False)


class SignInFlow:
    """The steps of sign-ins, and the sessions of browsers. Every method may raise DatabaseUnavailable."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a sign-in
        self,
        store: SignInStore,
        mint: LazyTokenMint,
        upstream: Upstream,
        admission: Admission,
        logins: LoginCheck,
        vault: PersonVault,
        sealer: ContentSealer,
        requests: RequestCheck,
        places: LoginPlaces,
        wall_clock: Callable[[], float],
    ) -> None:
        """Sign people in with `upstream`, if `admission` admits them. `wall_clock` returns unix seconds.

        `places` limits how many logins `upstream` completes at once.
        """
        self._store = store
        self._mint = mint
        self._upstream = upstream
        self._admission = admission
        self._logins = logins
        self._vault = vault
        self._sealer = sealer
        self._requests = requests
        self._places = places
        self._wall_clock = wall_clock

    async def consent(self, request: AuthorizationRequest, browser: Browser) -> Consent:
        """Return the contents of the consent page for `request` in this browser."""
        person = None if request.login else await self.person(browser)
        secrets = self._vault.open(person) if person is not None else None
        content = {
            "request": request_content(request),
            "person": person.id if person is not None and secrets is not None else None,
            "until": self._wall_clock() + CONSENT_SECONDS,
        }
        sealed = self._sealer.seal(_CONSENT, content, browser.secret)
        return Consent(sealed, secrets.label if secrets is not None else None)

    async def deny(self, sealed: str, browser: Browser) -> BrowserRedirect:
        """Return the redirect to the client after the person declined. Raises FlowEnded."""
        request, _ = self._unseal_consent(sealed, browser)
        error = OAuthError("access_denied", "The person has declined.")
        return BrowserRedirect(self._requests.error_url(request.redirect_uri, request.state, error))

    async def approve(self, sealed: str, browser: Browser, *, read_only: bool) -> BrowserRedirect:
        """Return the redirect after the person agreed. With `read_only`, the client gets the scope `read` alone.

        The redirect leads to the client if the browser is still signed in to the account that the page showed, and
        that person is still admitted; else to the login. Raises FlowEnded and LoginUnavailable.
        """
        request, shown_person_id = self._unseal_consent(sealed, browser)
        if read_only:
            request = replace(request, scopes=request.scopes & {Scope.READ} or frozenset({Scope.READ}))
        person = await self.person(browser) if shown_person_id is not None else None
        if person is not None and person.id == shown_person_id and await self._still_counts(person):
            return await self._issue_code(request, person)
        return await self._begin_login({"request": request_content(request), "person": shown_person_id}, browser)

    async def _still_counts(self, person: Person) -> bool:
        """Return whether the last login of `person` is valid, and admission admits them, who may have left their team.

        Raises LoginUnavailable.
        """
        # a new client is a reason to check the login again: `is_suspect` shortens the time between two checks
        if not await self._logins.check(person, is_suspect=True) or (secrets := self._vault.open(person)) is None:
            return False
        try:
            await self._admission.admit(SignedIn(person.issuer, person.subject, secrets), None)
        except LoginRefused:
            return False  # a new login may bring another team, or else tells the person why they are refused
        return True

    async def begin_account_login(self, browser: Browser) -> BrowserRedirect:
        """Return the redirect to the login for the account page. Raises LoginUnavailable."""
        return await self._begin_login({"request": None, "person": None}, browser)

    async def begin_join_login(self, invitation: str, browser: Browser) -> BrowserRedirect:
        """Return the redirect to the login for an invited person. `invitation` is the digest of its code.

        Raises LoginUnavailable.
        """
        return await self._begin_login({"request": None, "person": None, "invitation": invitation}, browser)

    async def check_return(self, query: Mapping[str, str], browser: Browser) -> None:
        """Check that this service began the login in this browser. Raises FlowEnded otherwise.

        `query` comes with the redirect from the upstream. Its `state` is checked without the database, because anybody
        can make one up.
        """
        if not (await self._mint.load()).is_state(query.get("state", ""), browser.secret):
            raise FlowEnded(_NOT_BEGUN)

    async def finish_login(self, query: Mapping[str, str], browser: Browser, account_url: str) -> BrowserRedirect:
        """Record the login, and return the redirect to the client; to the account page if no client began the login.

        `query` comes with the redirect from the upstream. Raises FlowEnded, LoginRefused, LoginUnavailable and
        JoinRefused.
        """
        mint = await self._mint.load()
        digests = mint.digest(query.get("state", "")), mint.digest(browser.secret)
        pending = await self._store.steps.take_pending(*digests)
        content = self._sealer.unseal(_PENDING, pending.content, *digests) if pending is not None else None
        if content is None:
            raise FlowEnded(_NOT_BEGUN)
        request = request_of(content["request"]) if content["request"] is not None else None
        if query.get("error") == "access_denied":
            return self._after_denied_login(request, account_url)
        attempt = LoginAttempt(query["state"], content["verifier"], content["nonce"])
        async with self._places.place():
            signed_in = await self._upstream.finish(attempt, query)
        await self._admission.admit(signed_in, content.get("invitation"))
        person_id = mint.person_id(signed_in.issuer, signed_in.subject)
        sealed = self._vault.seal(person_id, signed_in.secrets)
        person = Person(person_id, signed_in.issuer, signed_in.subject, sealed)
        await self._store.people.keep(person)
        session = mint.random()
        await self._store.people.add_session(mint.digest(session), person.id, SESSION_SECONDS)
        if request is None:
            return BrowserRedirect(account_url, session)
        if content["person"] not in (None, person.id):
            raise FlowEnded("You have signed in with another account than the page has shown, so nothing was allowed.")
        return replace(await self._issue_code(request, person), session=session)

    async def person(self, browser: Browser) -> Person | None:
        """Return the person who is signed in with this browser; None if nobody is signed in."""
        if browser.session is None:
            return None
        mint = await self._mint.load()
        return await self._store.people.in_session(mint.digest(browser.session))

    def label(self, person: Person) -> str:
        """Return the person's account name, such as an email address; the subject if no name can be unsealed."""
        secrets = self._vault.open(person)
        return secrets.label if secrets is not None else person.subject

    def csrf_token(self, browser: Browser, person: Person | None) -> str:
        """Return a new anti-CSRF token for the forms of a page in this browser, valid for SESSION_SECONDS.

        `person` is whose account the page shows; None if it shows none.
        """
        content = {"until": self._wall_clock() + SESSION_SECONDS, "person": person.id if person is not None else None}
        return self._sealer.seal(_FORM, content, browser.secret)

    def page_of(self, csrf_token: str, browser: Browser) -> ShownPage | None:
        """Return the page whose form was sent with `csrf_token`; None if this browser has no such page, or too old."""
        is_short = len(csrf_token) <= MAX_SEALED_LENGTH
        content = self._sealer.unseal(_FORM, csrf_token, browser.secret) if is_short else None
        if content is None or content["until"] <= self._wall_clock():
            return None
        return ShownPage(content["person"])

    async def sign_out(self, browser: Browser) -> None:
        """End the browser's session. Grants of clients are not affected."""
        if browser.session is not None:
            mint = await self._mint.load()
            await self._store.people.end_session(mint.digest(browser.session))

    def _unseal_consent(self, sealed: str, browser: Browser) -> tuple[AuthorizationRequest, str | None]:
        """Return the request of a consent page, and the id of the person whose account the page showed, or None.

        Raises FlowEnded for the page of another browser, and for one that was open for too long.
        """
        content = self._sealer.unseal(_CONSENT, sealed, browser.secret) if len(sealed) <= MAX_SEALED_LENGTH else None
        if content is None:
            raise FlowEnded("This page was not opened in this browser, or the browser keeps no cookies for this site.")
        if content["until"] <= self._wall_clock():
            raise FlowEnded("This page was open for too long.")
        return request_of(content["request"]), content["person"]

    def _after_denied_login(self, request: AuthorizationRequest | None, account_url: str) -> BrowserRedirect:
        if request is None:
            return BrowserRedirect(account_url)
        error = OAuthError("access_denied", "The person has not signed in.")
        return BrowserRedirect(self._requests.error_url(request.redirect_uri, request.state, error))

    async def _issue_code(self, request: AuthorizationRequest, person: Person) -> BrowserRedirect:
        mint = await self._mint.load()
        code = mint.code()
        record = AuthorizationCode(
            mint.digest(code), request.client_id, request.redirect_uri, request.challenge, request.scopes, person.id
        )
        await self._store.steps.add_code(record, CODE_SECONDS)
        return BrowserRedirect(self._requests.code_url(request, code))

    async def _begin_login(self, content: dict[str, Any], browser: Browser) -> BrowserRedirect:
        """Store a pending login with `content`, and return the redirect to the upstream."""
        mint = await self._mint.load()
        attempt = LoginAttempt(mint.state(browser.secret), mint.random(), mint.random())
        url = await self._upstream.begin(attempt)
        digests = mint.digest(attempt.state), mint.digest(browser.secret)
        sealed = self._sealer.seal(_PENDING, content | {"verifier": attempt.verifier, "nonce": attempt.nonce}, *digests)
        await self._store.steps.add_pending(PendingLogin(*digests, sealed), CONSENT_SECONDS)
        return BrowserRedirect(url)
