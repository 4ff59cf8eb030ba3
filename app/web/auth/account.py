"""/account: lists the grants of a person, that is the connected apps, and ends them."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.sign_in import Person
from app.services.sign_in.account import Account
from app.services.sign_in.flow import Browser, SignInFlow
from app.web.auth import responses
from app.web.auth.account_team import TeamSection
from app.web.auth.authorize import BrowserLimits, count_request, is_own_form, with_error_pages
from app.web.auth.requests import Cookies, address_of, form_of
from app.web.pages.sign_in import Site, account_login_page, account_page

_STALE = "This page was open for too long, or your browser keeps no cookies for this site. Load the page again."
_OTHER_ACCOUNT = "You are signed in with another account than the page has shown. Load the page again."


class AccountEndpoint:
    """The account page and its forms."""

    def __init__(  # noqa: PLR0913, PLR0917 - the services of a person
        self,
        flow: SignInFlow,
        account: Account,
        site: Site,
        login_origin: str,
        limits: BrowserLimits,
        team: TeamSection | None = None,
    ) -> None:
        """List and end the grants in `account`. `flow` signs the person in at the upstream login, `login_origin`.

        `limits` counts pages and forms together with those of /authorize. `team` is None on a service without teams.
        """
        self._flow = flow
        self._account = account
        self._site = site
        self._login_origin = login_origin
        self._limits = limits
        self._team = team
        self._cookies = Cookies.of(site.public_url)
        self._url = f"{site.public_url}/account"

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/account", with_error_pages(self._show), methods=["GET"]),
            Route("/account", with_error_pages(self._submit), methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        count_request(self._limits.pages, address_of(request))
        browser = self._cookies.known_or_new(request)
        person = await self._flow.person(browser)
        csrf_token = self._flow.csrf_token(browser, person)
        if person is None:
            page = account_login_page(self._site, csrf_token=csrf_token)
        else:
            grants = await self._account.grants_of(person)
            team_html = await self._team.render(person, csrf_token) if self._team is not None else ""
            page = account_page(
                self._site, self._flow.label(person), grants, csrf_token=csrf_token, team_html=team_html
            )
        response = responses.html(page, redirect_targets=(self._login_origin,))
        self._cookies.set_browser(response, browser)
        return response

    async def _submit(self, request: Request) -> Response:
        count_request(self._limits.forms, address_of(request))
        form, browser = await form_of(request), self._cookies.browser(request)
        page = None
        if browser is not None and is_own_form(request, self._site.public_url):
            page = self._flow.page_of(form.get("token", ""), browser)
        if browser is None or page is None:
            return responses.message("Nothing was changed", _STALE, status=403)
        if form.get("action") == "sign-in":
            return responses.redirect((await self._flow.begin_account_login(browser)).url)
        if form.get("action") == "sign-out":
            return await self._sign_out(browser)
        person = await self._flow.person(browser)
        if person is None:
            return responses.redirect(self._url)
        if page.person_id != person.id:
            return responses.message("Nothing was changed", _OTHER_ACCOUNT, status=403)
        return await self._change(request, person, form)

    async def _change(self, request: Request, person: Person, form: Mapping[str, str]) -> Response:
        action = form.get("action")
        if action == "end":
            await self._account.end(person, form.get("grant", ""))
        elif action == "credential" and self._team is not None:
            return await self._replace_credential(request, self._team, person, form.get("secret", ""))
        elif action == "leave" and self._team is not None:
            return await self._leave(self._team, person)
        return responses.redirect(self._url)

    async def _leave(self, team: TeamSection, person: Person) -> Response:
        if (refusal := await team.leave(person)) is not None:
            return responses.message("You have not left the team", refusal)
        return responses.redirect(self._url)

    async def _replace_credential(self, request: Request, team: TeamSection, person: Person, secret: str) -> Response:
        """Replace the credential of a personal team. The request counts as a page view too."""
        count_request(self._limits.pages, address_of(request))
        if (refusal := await team.replace_credential(person, secret.strip())) is not None:
            return responses.message("The token was not saved", refusal)
        return responses.redirect(self._url)

    async def _sign_out(self, browser: Browser) -> Response:
        await self._flow.sign_out(browser)
        response = responses.redirect(self._url)
        self._cookies.set_session(response, "")
        return response
