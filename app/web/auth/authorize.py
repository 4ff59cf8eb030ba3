"""/authorize and /oauth/callback: the way of a person's browser through a sign-in."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.ports.repositories import DatabaseUnavailable
from app.ports.sign_in import LoginRefused, LoginUnavailable
from app.services.limits.address_limits import AddressLimit
from app.services.sign_in.clients import ClientRefused, TooManyRequests
from app.services.sign_in.flow import FlowEnded, SignInFlow, Step
from app.services.sign_in.requests import RequestCheck, RequestRefused
from app.web.auth import responses
from app.web.auth.requests import BadForm, Cookies, address_of, form_of, query_of
from app.web.pages.sign_in import Site, consent_page

Handler = Callable[[Request], Awaitable[Response]]
_NO_COOKIES = "Your browser keeps no cookies for this site, or the sign-in was begun in another browser."


class AuthorizeEndpoint:
    """The endpoints that a browser is sent to."""

    def __init__(
        self, flow: SignInFlow, requests: RequestCheck, site: Site, login_origin: str, begun: AddressLimit
    ) -> None:
        """Lead people through `flow`. `login_origin` is where they sign in; `begun` limits each address."""
        self._flow = flow
        self._requests = requests
        self._site = site
        self._login_origin = login_origin
        self._begun = begun
        self._cookies = Cookies.of(site.public_url)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/authorize", for_people(self._ask), methods=["GET"]),
            Route("/authorize", for_people(self._decide), methods=["POST"]),
            Route("/oauth/callback", for_people(self._return), methods=["GET"]),
        ]

    async def _ask(self, request: Request) -> Response:
        """Show the consent page. A request that cannot be trusted with a redirect ends on a page of its own."""
        address = address_of(request)
        if (wait := self._begun.take(address)) is not None:
            return responses.too_many(wait)
        query, repeated = query_of(request)
        checked = await self._requests.check(query, address, repeated=repeated)
        browser = self._cookies.known_or_new(request)
        consent = await self._flow.consent(checked.request, browser)
        page = consent_page(self._site, checked.request, checked.client, sealed=consent.sealed, label=consent.label)
        response = responses.html(page, leads_to=(self._login_origin, checked.request.redirect_uri))
        self._cookies.set_browser(response, browser)
        return response

    async def _decide(self, request: Request) -> Response:
        """Take the person's decision."""
        form = await form_of(request)
        browser = self._cookies.browser(request)
        if browser is None or not is_own_form(request, self._site.public_url):
            return responses.not_connected(_NO_COOKIES, status=403)
        sealed = form.get("request", "")
        if form.get("decision") == "approve":
            step = await self._flow.approve(sealed, browser, read_only="read_only" in form)
        elif form.get("decision") == "deny":
            step = await self._flow.deny(sealed, browser)
        else:
            return responses.not_connected("The form names no decision.")
        return self._onward(step)

    async def _return(self, request: Request) -> Response:
        """Take a browser that comes back from the login."""
        browser = self._cookies.browser(request)
        if browser is None:
            return responses.not_connected(_NO_COOKIES, status=403)
        query, _ = query_of(request)
        return self._onward(await self._flow.finish_login(query, browser, f"{self._site.public_url}/account"))

    def _onward(self, step: Step) -> Response:
        response = responses.redirect(step.url)
        if step.session is not None:
            self._cookies.set_session(response, step.session)
        return response


def is_own_form(request: Request, public_url: str) -> bool:
    """Return whether a form comes from a page of this service, as far as the browser says."""
    parts, origin = urlsplit(public_url), request.headers.get("origin", "null")
    site = request.headers.get("sec-fetch-site", "same-origin")
    return origin in ("null", f"{parts.scheme}://{parts.netloc}") and site in ("same-origin", "none")


def for_people(handler: Handler) -> Handler:
    """Return `handler` with a page for every fault that a person can meet."""

    async def handled(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestRefused as exc:
            return responses.redirect(exc.url)
        except TooManyRequests as exc:
            return responses.too_many(exc.retry_after_seconds)
        except DatabaseUnavailable:
            return responses.database_down()
        except tuple(_STATUS) as exc:
            return responses.not_connected(str(exc), status=_STATUS[type(exc)])

    return handled


_STATUS: dict[type[Exception], int] = {
    ClientRefused: 400,
    FlowEnded: 400,
    BadForm: 400,
    LoginRefused: 403,
    LoginUnavailable: 503,
}
"""The status of the page for each fault, whose text is a sentence for the person."""
