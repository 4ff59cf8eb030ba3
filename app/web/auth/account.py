"""/account: what a person has granted, and the ends of it."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.services.limits.address_limits import AddressLimit
from app.services.sign_in.account import Account
from app.services.sign_in.flow import Browser, SignInFlow
from app.web.auth import responses
from app.web.auth.authorize import for_people, is_own_form
from app.web.auth.requests import Cookies, address_of, form_of
from app.web.pages.sign_in import Site, account_login_page, account_page

_STALE = "This page was open for too long, or your browser keeps no cookies for this site. Load it again."


class AccountEndpoint:
    """The account page and its forms."""

    def __init__(self, flow: SignInFlow, account: Account, site: Site, login_origin: str, begun: AddressLimit) -> None:
        """Show and end what is in `account`, to those who are signed in by `flow`."""
        self._flow = flow
        self._account = account
        self._site = site
        self._login_origin = login_origin
        self._begun = begun
        self._cookies = Cookies.of(site.public_url)
        self._url = f"{site.public_url}/account"

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/account", for_people(self._show), methods=["GET"]),
            Route("/account", for_people(self._act), methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        if (wait := self._begun.take(address_of(request))) is not None:
            return responses.too_many(wait)
        browser = self._cookies.known_or_new(request)
        token, person = self._flow.form_token(browser), await self._flow.person(browser)
        if person is None:
            page = account_login_page(self._site, token=token)
        else:
            grants = await self._account.grants_of(person)
            page = account_page(self._site, self._flow.label(person), grants, token=token)
        response = responses.html(page, leads_to=(self._login_origin,))
        self._cookies.set_browser(response, browser)
        return response

    async def _act(self, request: Request) -> Response:
        form, browser = await form_of(request), self._cookies.browser(request)
        is_ours = is_own_form(request, self._site.public_url)
        if browser is None or not is_ours or not self._flow.is_form_token(form.get("token", ""), browser):
            return responses.message("Nothing was changed", _STALE, status=403)
        if form.get("action") == "sign-in":
            return responses.redirect((await self._flow.begin_account_login(browser)).url)
        if form.get("action") == "sign-out":
            return await self._signed_out(browser)
        person = await self._flow.person(browser)
        if person is not None and form.get("action") == "end":
            await self._account.end(person, form.get("grant", ""))
        return responses.redirect(self._url)

    async def _signed_out(self, browser: Browser) -> Response:
        await self._flow.sign_out(browser)
        response = responses.redirect(self._url)
        self._cookies.set_session(response, "")
        return response
