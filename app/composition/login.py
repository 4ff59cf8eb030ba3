"""Builds the upstream login of sign-in, and the parts that admit people and turn them into callers."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.adapters.acedata.login import AceDataLogin, ClientRegistration
from app.adapters.acedata.login_http import LoginHttp
from app.adapters.acedata.platform import Platform
from app.adapters.auth.jwt.issuer_client import IssuerClient
from app.adapters.auth.jwt.issuer_keys import MAX_WAITING, IssuerKeys
from app.adapters.auth.key_digest import KeyDigest
from app.adapters.auth.oidc_login import OidcClientRegistration, OidcLogin
from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.auth.people_callers import MemberCallers, PersonCallers
from app.adapters.auth.person_vault import VaultPersonSealer
from app.adapters.secret_maker import VaultSecretMaker
from app.composition.clocks import Clocks
from app.composition.description import VERSION
from app.composition.memberships import build_memberships, member_credentials
from app.composition.refusal_reporters import issuer_keys_reporter
from app.domain.backend import BackendDescription
from app.observability.refusals import Refusals
from app.ports.admission import Admission
from app.ports.people import Invitations
from app.ports.sign_in import Upstream
from app.ports.sign_in_store import People
from app.services.sign_in.admission import OpenAdmission
from app.services.sign_in.grant_cache import Callers
from app.services.teams.admission import TeamAdmission
from app.services.teams.departures import TeamDepartures
from app.services.teams.memberships import Memberships
from app.services.teams.opening import TeamDirectory
from app.services.teams.person_account import PersonAccount
from app.settings import Settings

CALLBACK_PATH = "/oauth/callback"
USER_AGENT = f"luma-mcp/{VERSION}"
PERSONAL_TEAMS_FULL = (
    "A person without a team has signed in and got none: there are {maximum} personal teams, as many as "
    "LUMA_MCP_OIDC_PERSONAL_TEAMS_MAX allows. `luma-mcp teams delete --unused 30d` deletes those that nobody uses"
)


@dataclass(frozen=True, slots=True)
class LoginTeams:
    """The parts of a login whose people belong to teams.

    Attributes:
        accounts: the team of a person, as the account page shows and changes it.
        backend_name: name of the backend, for the account page.

    """

    invitations: Invitations
    accounts: PersonAccount
    backend_name: str


@dataclass(frozen=True, slots=True)
class Login:
    """The upstream login, and the parts that admit the people who sign in and turn them into callers.

    Attributes:
        teams: the teams that people belong to; None if each person is a tenant alone.
        running: must be entered while the login is used.

    """

    upstream: Upstream
    callers: Callers
    admission: Admission
    teams: LoginTeams | None
    running: AbstractAsyncContextManager[None]


def build_login(  # noqa: PLR0913, PLR0917 - the dependencies of a login
    settings: Settings,
    vault: VaultPersonSealer,
    people: People,
    directory: TeamDirectory[KeyDigest] | None,
    backend: BackendDescription,
    clocks: Clocks,
    refusals: Refusals,
) -> Login:
    """Return the login that `settings` name.

    Raises EnvironmentFault for a proxy or certificate variable that cannot be used.
    """
    redirect_uri = f"{settings.public_url}{CALLBACK_PATH}"
    if settings.sign_in == "oidc" and directory is not None:
        parts = _TeamParts(settings, vault, people, directory, backend, refusals)
        return _oidc_login(settings, redirect_uri, parts, clocks)
    registration = ClientRegistration(settings.acedata_client_id or "", redirect_uri, settings.acedata_scopes)
    own_host = urlsplit(settings.public_url or "").netloc
    platform = Platform(LoginHttp(settings.acedata_platform_url, USER_AGENT), f"luma-mcp {own_host}")
    auth_http = LoginHttp(settings.acedata_auth_url, USER_AGENT)
    upstream = AceDataLogin(settings.acedata_auth_url, auth_http, platform, registration, clocks.wall)
    hasher = PassthroughAuthenticator(*settings.secret_keys())
    return Login(upstream, PersonCallers(vault, hasher.hash_token), OpenAdmission(), None, _no_background_work())


def _oidc_login(settings: Settings, redirect_uri: str, parts: "_TeamParts", clocks: Clocks) -> Login:
    secret = settings.oidc_client_secret
    registration = OidcClientRegistration(
        settings.oidc_issuer or "",
        settings.oidc_client_id or "",
        secret.get_secret_value() if secret is not None else None,
        redirect_uri,
        settings.oidc_team_claim,
    )
    client = IssuerClient(registration.issuer, USER_AGENT, os.environ)
    on_refusal = issuer_keys_reporter(parts.refusals, MAX_WAITING)
    keys = IssuerKeys(client.read_keys, clocks.monotonic, clocks.sleep, on_refusal)
    memberships = build_memberships(settings, parts.directory)
    return Login(
        upstream=OidcLogin(registration, client, keys, clocks),
        callers=parts.callers(memberships),
        admission=parts.admission(memberships),
        teams=parts.teams(memberships),
        running=keys.running(),
    )


@dataclass(frozen=True, slots=True)
class _TeamParts:
    """Makes the parts of a login whose people belong to teams."""

    settings: Settings
    vault: VaultPersonSealer
    people: People
    directory: TeamDirectory[KeyDigest]
    backend: BackendDescription
    refusals: Refusals

    def callers(self, memberships: Memberships) -> MemberCallers:
        return MemberCallers(self.vault, memberships, member_credentials(self.settings, self.directory, self.backend))

    def admission(self, memberships: Memberships) -> TeamAdmission:
        repositories, makes_personal = self.directory.repositories, self.settings.oidc_personal_teams == "on"
        maximum = self.settings.oidc_personal_teams_max if makes_personal else 0
        on_full = self.refusals.reporter("personal_teams", PERSONAL_TEAMS_FULL.format(maximum=maximum))
        return TeamAdmission(
            memberships, repositories.people, repositories.invitations, max_personal=maximum, on_full=on_full
        )

    def teams(self, memberships: Memberships) -> LoginTeams:
        repositories = self.directory.repositories
        secrets = VaultSecretMaker(repositories, tuple(self.settings.secret_keys()))
        departures = TeamDepartures(repositories, self.people, self.vault, secrets)
        accounts = PersonAccount(
            self.vault, memberships, repositories.credentials, secrets, departures, self.settings.backend
        )
        return LoginTeams(repositories.invitations, accounts, self.backend.name)


@asynccontextmanager
async def _no_background_work() -> AsyncIterator[None]:
    yield
