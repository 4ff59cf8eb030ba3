"""/join: an invited person agrees, and goes to the login."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.services.sign_in.joining import STALE, Joining
from app.web.auth import responses
from app.web.auth.authorize import BrowserLimits, count_request, is_own_form, with_error_pages
from app.web.auth.requests import Cookies, address_of, form_of, query_of
from app.web.pages.join import join_page
from app.web.pages.sign_in import Site


class JoinEndpoint:
    """The page of an invitation and its form."""

    def __init__(self, joining: Joining, site: Site, login_origin: str, limits: BrowserLimits) -> None:
        """Begin logins with `joining`. `login_origin` is the origin of the upstream login.

        Page views and forms both count as page views in `limits`, which /authorize shares.
        """
        self._joining = joining
        self._site = site
        self._login_origin = login_origin
        self._limits = limits
        self._cookies = Cookies.of(site.public_url)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/join", with_error_pages(self._ask), methods=["GET"]),
            Route("/join", with_error_pages(self._agree), methods=["POST"]),
        ]

    async def _ask(self, request: Request) -> Response:
        count_request(self._limits.pages, address_of(request))
        query, _ = query_of(request)
        browser = self._cookies.known_or_new(request)
        invitation, sealed = await self._joining.page_content(query.get("invitation", ""), browser)
        response = responses.html(
            join_page(self._site, invitation, sealed=sealed), redirect_targets=(self._login_origin,)
        )
        response.headers["referrer-policy"] = "strict-origin"  # the URL of this page contains the invitation's code
        self._cookies.set_browser(response, browser)
        return response

    async def _agree(self, request: Request) -> Response:
        count_request(self._limits.pages, address_of(request))
        form, browser = await form_of(request), self._cookies.browser(request)
        if browser is None or not is_own_form(request, self._site.public_url):
            return responses.not_joined_page(STALE)
        return responses.redirect((await self._joining.begin_login(form.get("token", ""), browser)).url)
