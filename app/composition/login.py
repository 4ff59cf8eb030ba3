"""Builds the upstream login of sign-in, and the part that turns signed-in people into callers."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from app.adapters.acedata.login import AceDataLogin, ClientRegistration
from app.adapters.acedata.login_http import LoginHttp
from app.adapters.acedata.platform import Platform
from app.adapters.auth.jwt.issuer_client import IssuerClient
from app.adapters.auth.jwt.issuer_keys import IssuerKeys
from app.adapters.auth.key_digest import KeyDigest
from app.adapters.auth.oidc_login import OidcClientRegistration, OidcLogin
from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.auth.people_callers import MemberCallers, PersonCallers
from app.adapters.auth.person_vault import VaultPersonSealer
from app.adapters.auth.team_credentials import TeamCredentials
from app.composition.clocks import Clocks
from app.composition.description import VERSION
from app.domain.backend import BackendDescription
from app.ports.sign_in import Upstream
from app.services.sign_in.grant_cache import Callers
from app.services.teams.memberships import MemberId, Memberships
from app.services.teams.opening import OpenDirectory
from app.settings import Settings

CALLBACK_PATH = "/oauth/callback"
USER_AGENT = f"luma-mcp/{VERSION}"


@dataclass(frozen=True, slots=True)
class Login:
    """The upstream login, and the callers of the people who signed in. `running` must be entered while it is used."""

    upstream: Upstream
    callers: Callers
    running: AbstractAsyncContextManager[None]


def build_login(
    settings: Settings,
    people: VaultPersonSealer,
    directory: OpenDirectory[KeyDigest] | None,
    backend: BackendDescription,
    clocks: Clocks,
) -> Login:
    """Return the login that `settings` name.

    Raises EnvironmentFault for a proxy or certificate variable that cannot be used.
    """
    redirect_uri = f"{settings.public_url}{CALLBACK_PATH}"
    if settings.sign_in == "oidc" and directory is not None:
        return _oidc(settings, redirect_uri, _members(people, directory, backend), clocks)
    registration = ClientRegistration(settings.acedata_client_id or "", redirect_uri, settings.acedata_scopes)
    http, name = LoginHttp(settings.acedata_platform_url, USER_AGENT), urlsplit(settings.public_url or "").netloc
    auth = LoginHttp(settings.acedata_auth_url, USER_AGENT)
    platform = Platform(http, f"luma-mcp {name}")
    upstream = AceDataLogin(settings.acedata_auth_url, auth, platform, registration, clocks.wall)
    names = PassthroughAuthenticator(*settings.secret_keys())
    return Login(upstream, PersonCallers(people, names.name), _nothing())


def _oidc(settings: Settings, redirect_uri: str, members: MemberCallers, clocks: Clocks) -> Login:
    secret = settings.oidc_client_secret
    registration = OidcClientRegistration(
        settings.oidc_issuer or "",
        settings.oidc_client_id or "",
        secret.get_secret_value() if secret is not None else None,
        redirect_uri,
        settings.oidc_team_claim,
    )
    client = IssuerClient(registration.issuer, USER_AGENT, os.environ)
    keys = IssuerKeys(client.read_keys, clocks.monotonic, clocks.sleep)
    upstream = OidcLogin(registration, client, keys, members.ensure_member, clocks)
    return Login(upstream, members, keys.running())


def _members(
    people: VaultPersonSealer, directory: OpenDirectory[KeyDigest], backend: BackendDescription
) -> MemberCallers:
    memberships = Memberships(directory.cache, directory.teams, partial(_member_id, directory))
    return MemberCallers(people, memberships, partial(TeamCredentials, directory.cache, backend=backend))


def _member_id(directory: OpenDirectory[KeyDigest]) -> MemberId | None:
    """Return the hash function for ids of members; None until the directory has been opened."""
    return digest.of if (digest := directory.digest()) is not None else None


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield
