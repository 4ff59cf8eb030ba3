"""/authorize and /oauth/callback: the endpoints that a person's browser visits during a sign-in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.ports.admission import JoinRefused
from app.ports.repositories import DatabaseBusy, DatabaseUnavailable
from app.ports.sign_in import LoginRefused, LoginUnavailable
from app.services.limits.address_limits import AddressLimit
from app.services.sign_in.clients import ClientRefused, TooManyRequests
from app.services.sign_in.flow import BrowserRedirect, FlowEnded, SignInFlow
from app.services.sign_in.requests import RequestCheck, RequestRefused
from app.web.auth import responses
from app.web.auth.requests import BadForm, Cookies, address_of, form_of, query_of
from app.web.pages.sign_in import Site, consent_page

Handler = Callable[[Request], Awaitable[Response]]
_NO_COOKIES = "Your browser keeps no cookies for this site, or the sign-in was begun in another browser."


@dataclass(frozen=True, slots=True)
class BrowserLimits:
    """Limits for each network address.

    Attributes:
        pages: page views.
        forms: forms, which are counted before they are read.
        returns: failed logins, counted when the browser returns from the login.

    """

    pages: AddressLimit
    forms: AddressLimit
    returns: AddressLimit

    def trust(self, address: str) -> None:
        """Record that somebody has signed in from `address`."""
        for limit in (self.pages, self.forms, self.returns):
            limit.trust(address)


class AuthorizeEndpoint:
    """The consent page, and the return from the login."""

    def __init__(
        self, flow: SignInFlow, requests: RequestCheck, site: Site, login_origin: str, limits: BrowserLimits
    ) -> None:
        """Check authorization requests with `requests`, and process them with `flow`.

        `login_origin` is the origin of the upstream login.
        """
        self._flow = flow
        self._requests = requests
        self._site = site
        self._login_origin = login_origin
        self._limits = limits
        self._cookies = Cookies.of(site.public_url)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/authorize", with_error_pages(self._show_consent), methods=["GET"]),
            Route("/authorize", with_error_pages(self._submit_decision), methods=["POST"]),
            Route("/oauth/callback", with_error_pages(self._login_callback), methods=["GET"]),
        ]

    async def _show_consent(self, request: Request) -> Response:
        """Show the consent page. Without a valid client and redirect URI, show an error page instead of redirecting."""
        address = address_of(request)
        count_request(self._limits.pages, address)
        query, is_any_repeated = query_of(request)
        checked = await self._requests.check(query, address, repeated=is_any_repeated)
        browser = self._cookies.known_or_new(request)
        consent = await self._flow.consent(checked.request, browser)
        page = consent_page(self._site, checked.request, checked.client, sealed=consent.sealed, label=consent.label)
        response = responses.html(page, redirect_targets=(self._login_origin, checked.request.redirect_uri))
        self._cookies.set_browser(response, browser)
        return response

    async def _submit_decision(self, request: Request) -> Response:
        """Process the form of the consent page."""
        count_request(self._limits.forms, address_of(request))
        form = await form_of(request)
        browser = self._cookies.browser(request)
        if browser is None or not is_own_form(request, self._site.public_url):
            return responses.sign_in_failed_page(_NO_COOKIES, status=403)
        sealed = form.get("request", "")
        if form.get("decision") == "approve":
            target = await self._flow.approve(sealed, browser, read_only="read_only" in form)
        elif form.get("decision") == "deny":
            target = await self._flow.deny(sealed, browser)
        else:
            return responses.sign_in_failed_page("The form names no decision.")
        return self._redirect(target)

    async def _login_callback(self, request: Request) -> Response:
        """Process the redirect back from the upstream login. A failed login counts in `returns`."""
        browser = self._cookies.browser(request)
        if browser is None:
            return responses.sign_in_failed_page(_NO_COOKIES, status=403)
        (query, _), address = query_of(request), address_of(request)
        await self._flow.check_return(query, browser)
        count_request(self._limits.returns, address)
        target = await self._flow.finish_login(query, browser, f"{self._site.public_url}/account")
        self._limits.returns.give_back(address)
        if target.session is not None:
            self._limits.trust(address)
        return self._redirect(target)

    def _redirect(self, target: BrowserRedirect) -> Response:
        response = responses.redirect(target.url)
        if target.session is not None:
            self._cookies.set_session(response, target.session)
        return response


def count_request(limit: AddressLimit, address: str) -> None:
    """Count a request of `address`. Raises TooManyRequests over the limit."""
    if (wait_seconds := limit.take(address)) is not None:
        raise TooManyRequests(wait_seconds)


def is_own_form(request: Request, public_url: str) -> bool:
    """Return whether a form may come from a page of this service, by its Origin and Sec-Fetch-Site headers.

    A missing header and `Origin: null` are accepted.
    """
    parts, origin = urlsplit(public_url), request.headers.get("origin", "null")
    site = request.headers.get("sec-fetch-site", "same-origin")
    return origin in ("null", f"{parts.scheme}://{parts.netloc}") and site in ("same-origin", "none")


def with_error_pages(handler: Handler) -> Handler:
    """Return `handler` with its exceptions turned into error pages, or into a redirect to the client."""

    async def handled(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestRefused as exc:
            return responses.redirect(exc.url) if exc.may_redirect else responses.return_page(str(exc), exc.url)
        except TooManyRequests as exc:
            return responses.too_many_page(exc.retry_after_seconds)
        except JoinRefused as exc:
            return responses.not_joined_page(str(exc))
        except DatabaseUnavailable as exc:
            return responses.database_page(is_busy=isinstance(exc, DatabaseBusy))
        except tuple(_ERROR_PAGE_STATUS) as exc:
            return responses.sign_in_failed_page(str(exc), status=_ERROR_PAGE_STATUS[type(exc)])

    return handled


_ERROR_PAGE_STATUS: dict[type[Exception], int] = {
    ClientRefused: 400,
    FlowEnded: 400,
    BadForm: 400,
    LoginRefused: 403,
    LoginUnavailable: 503,
}
"""Status of the error page for each exception. The exception's text is a sentence for the person."""
