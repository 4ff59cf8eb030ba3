"""Builds optional parts. The modules of a part that is off are not imported, which saves 4 MiB of memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from app.adapters.auth.key_digest import KeyDigest
from app.composition.clocks import Clocks
from app.domain.backend import BackendDescription
from app.domain.teams import Membership
from app.observability.refusals import Refusals
from app.persistence import Persistence
from app.ports.auth import CredentialSource
from app.services.limits.database_turns import DatabaseTurns
from app.services.limits.token_status import TokenStatusCache
from app.services.teams.memberships import Memberships
from app.services.teams.opening import TeamDirectory
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.auth.jwt.authenticator import JwtAuthenticator
    from app.adapters.auth.jwt.issuer_keys import IssuerKeys
    from app.composition.administration import Administration
    from app.composition.sign_in import SignIn


def optional_issuer_keys(settings: Settings, clocks: Clocks, refusals: Refusals) -> "IssuerKeys | None":
    """Return the keys of the identity provider; None if its tokens are not accepted.

    Raises SettingsError for a proxy or certificate variable that cannot be used.
    """
    if "jwt" not in settings.auth or settings.jwt_issuer is None:
        return None
    from app.composition.identity_provider import build_issuer_keys  # noqa: PLC0415

    return build_issuer_keys(settings.jwt_issuer, clocks, refusals)


def jwt_authenticator(  # noqa: PLR0913, PLR0917 - the dependencies of JwtAuthenticator
    settings: Settings,
    keys: "IssuerKeys",
    memberships: Memberships,
    credentials_of: Callable[[Membership], CredentialSource],
    clocks: Clocks,
    record_accepted: Callable[[str], None],
    hash_token: Callable[[str], str],
) -> "JwtAuthenticator":
    """Return the authenticator for tokens of the identity provider.

    `record_accepted` is called twice for an accepted token, with the member's id and with the keyed hash of the token
    from `hash_token`.
    """
    from app.composition.identity_provider import build_jwt_authenticator  # noqa: PLC0415

    return build_jwt_authenticator(settings, keys, memberships, credentials_of, clocks, record_accepted, hash_token)


def optional_sign_in(  # noqa: PLR0913, PLR0917 - the dependencies of sign-in
    settings: Settings,
    persistence: Persistence,
    directory: TeamDirectory[KeyDigest] | None,
    backend: BackendDescription,
    token_status: TokenStatusCache,
    turns: DatabaseTurns,
    clocks: Clocks,
    refusals: Refusals,
) -> "SignIn | None":
    """Return the authorization server; None if it is off.

    Raises SettingsError for a proxy or certificate variable that cannot be used.
    """
    if settings.sign_in == "off" or settings.public_url is None or not settings.secret_key:
        return None  # `luma-mcp check` does not read the key file beside an SQLite database
    from app.composition.sign_in import build_sign_in  # noqa: PLC0415

    return build_sign_in(
        settings, settings.public_url, persistence, directory, backend, token_status, turns, clocks, refusals
    )


def optional_administration(
    settings: Settings, persistence: Persistence, backend: BackendDescription, clocks: Clocks
) -> "Administration | None":
    """Return the services of administration over HTTP; None if it is off."""
    if settings.admin == "off" or not settings.secret_key:
        return None  # `luma-mcp check` does not read the key file beside an SQLite database
    from app.composition.administration import build_administration  # noqa: PLC0415

    return build_administration(settings, persistence, backend, clocks)
