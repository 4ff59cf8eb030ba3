"""Builds the parts that find the team of a person: for JWTs of an identity provider, and for sign-in."""

from collections.abc import Callable
from functools import partial

from app.adapters.auth.key_digest import KeyDigest
from app.adapters.auth.team_credentials import TeamCredentials
from app.domain.backend import BackendDescription
from app.domain.teams import Membership
from app.ports.auth import CredentialSource
from app.services.teams.memberships import NO_TEAM, NO_TEAM_YET, Memberships
from app.services.teams.opening import TeamDirectory
from app.services.teams.people import MemberHash
from app.settings import Settings

ACCOUNT_PATH = "/account"


def build_memberships(settings: Settings, directory: TeamDirectory[KeyDigest]) -> Memberships:
    """Return the service that finds the memberships of people."""
    account_url, repositories = _account_url(settings), directory.repositories
    makes_personal = account_url is not None and settings.oidc_personal_teams == "on"
    no_team = NO_TEAM_YET.format(account_url=account_url) if makes_personal else NO_TEAM
    member_hash = partial(_member_hash, directory)
    return Memberships(directory.cache, repositories.teams, repositories.people, member_hash, no_team)


def member_credentials(
    settings: Settings, directory: TeamDirectory[KeyDigest], backend: BackendDescription
) -> Callable[[Membership], CredentialSource]:
    """Return a function from a membership to the credentials of its team.

    The errors for a personal team without credentials name the account page, where its person puts them in.
    """
    account_url = _account_url(settings)

    def credentials_of(membership: Membership) -> TeamCredentials:
        url_in_errors = account_url if membership.is_personal else None
        return TeamCredentials(directory.cache, membership.team.id, backend, url_in_errors)

    return credentials_of


def _account_url(settings: Settings) -> str | None:
    """Return the URL of the page where people see their team; None if sign-in leads to no teams."""
    return f"{settings.public_url}{ACCOUNT_PATH}" if settings.sign_in == "oidc" else None


def _member_hash(directory: TeamDirectory[KeyDigest]) -> MemberHash | None:
    """Return the hash that makes ids of people and members; None until the directory has been opened."""
    return digest.of if (digest := directory.digest()) is not None else None
