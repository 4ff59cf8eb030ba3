"""The routes of the authorization server."""

from starlette.routing import BaseRoute

from app.adapters.auth.assertions import ALGORITHMS
from app.composition.sign_in import SignIn
from app.web.auth.account import AccountEndpoint
from app.web.auth.account_team import TeamSection
from app.web.auth.authorize import AuthorizeEndpoint, BrowserLimits
from app.web.auth.join import JoinEndpoint
from app.web.auth.metadata import metadata_routes
from app.web.auth.token import ClientEndpointLimits, ClientEndpoints
from app.web.pages.sign_in import Site


def sign_in_routes(sign_in: SignIn) -> list[BaseRoute]:
    """Return all routes of the authorization server: metadata, pages, and endpoints for clients."""
    site, limits = Site(sign_in.public_url, sign_in.login.upstream.name), sign_in.limits
    login_origin = sign_in.login.upstream.origin
    browser_limits = BrowserLimits(limits.pages, limits.forms, limits.returns)
    client_limits = ClientEndpointLimits(limits.tokens, limits.registrations, limits.new_clients)
    teams, joining = sign_in.login.teams, sign_in.joining
    team = TeamSection(teams.accounts, site, teams.backend_name) if teams is not None else None
    return [
        *metadata_routes(sign_in.public_url, ALGORITHMS),
        *AuthorizeEndpoint(sign_in.flow, sign_in.requests, site, login_origin, browser_limits).routes(),
        *AccountEndpoint(sign_in.flow, sign_in.account, site, login_origin, browser_limits, team).routes(),
        *(JoinEndpoint(joining, site, login_origin, browser_limits).routes() if joining is not None else []),
        *ClientEndpoints(sign_in.tokens, sign_in.clients, sign_in.registry, client_limits).routes(),
    ]
