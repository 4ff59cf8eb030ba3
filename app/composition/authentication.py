"""Builds the authenticators for the ways to authenticate that LUMA_MCP_AUTH names, and for sign-in."""

import logging
from functools import partial
from typing import TYPE_CHECKING

from app.adapters.auth.chain import DispatchingAuthenticator
from app.adapters.auth.key_digest import KeyDigest, load_key_digest
from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.auth.team_keys import TeamKeyAuthenticator
from app.adapters.sql.alerts import SqlAlerts
from app.adapters.sql.directory import sql_directory
from app.adapters.vault import CannotOpen, Vault, seal_credentials_again
from app.adapters.webhook_signature import seal_urls_again
from app.composition.clocks import Clocks
from app.composition.memberships import build_memberships, member_credentials
from app.composition.optional import jwt_authenticator
from app.composition.refusal_reporters import directory_reporter
from app.domain.access import Credential
from app.domain.api_key_format import PREFIX
from app.domain.backend import BackendDescription
from app.domain.teams import TeamCredential
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.persistence import Persistence
from app.ports.alerts import AlertUrls
from app.ports.auth import Authenticator, TokenCheck
from app.ports.directory import Directory
from app.services.limits.refused_tokens import RefusedTokens
from app.services.limits.token_status import TokenStatusCache
from app.services.teams.directory_cache import DirectoryCache
from app.services.teams.opening import OpenDirectory
from app.services.version_follower import CacheClocks
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.auth.jwt.issuer_keys import IssuerKeys

OTHER_KEY = (
    "The keys of teams in the database were made with another LUMA_MCP_SECRET_KEY: set that key, or add it after the "
    "current one"
)

DOTS_IN_JWT = 2

log = logging.getLogger(__name__)


def build_directory(
    settings: Settings, persistence: Persistence, clocks: Clocks, refusals: Refusals
) -> OpenDirectory[KeyDigest] | None:
    """Return the directory of teams; None if no way to authenticate uses teams."""
    has_members = "keys" in settings.auth or "jwt" in settings.auth or settings.sign_in == "oidc"
    # `luma-mcp check` does not read the key file beside an SQLite database.
    if not has_members or not settings.secret_key:
        return None
    directory, vault = sql_directory(persistence.database, clocks.database), Vault(*settings.secret_keys())
    credential_of = partial(_open_credential, vault, PassthroughAuthenticator(*settings.secret_keys()))
    times = CacheClocks(clocks.wall, clocks.monotonic, clocks.sleep)
    cache = DirectoryCache(directory, credential_of, settings.backend, times, directory_reporter(refusals))
    return OpenDirectory(
        cache, directory, partial(_load_digest, directory, SqlAlerts(persistence.database), vault), clocks.sleep
    )


def build_authenticator(  # noqa: PLR0913, PLR0917 - the dependencies of all ways to authenticate
    settings: Settings,
    directory: OpenDirectory[KeyDigest] | None,
    issuer: "IssuerKeys | None",
    backend: BackendDescription,
    token_status: TokenStatusCache,
    clocks: Clocks,
    metrics: Metrics,
    sign_in: TokenCheck | None = None,
) -> Authenticator:
    """Return the authenticator for all ways to authenticate that are on. `sign_in` checks access tokens of sign-in."""
    passthrough = PassthroughAuthenticator(*settings.secret_keys())
    keys, jwt = None, None
    if directory is not None and "keys" in settings.auth:
        keys = TeamKeyAuthenticator(
            directory.cache, directory.digest, backend, clocks.monotonic, token_status.accept, passthrough.name
        )
    if directory is not None and issuer is not None:
        memberships = build_memberships(settings, directory)
        credentials_of = member_credentials(settings, directory, backend)
        jwt = jwt_authenticator(
            settings, issuer, memberships, credentials_of, clocks, token_status.accept, passthrough.name
        )
    others = passthrough if "passthrough" in settings.auth else None
    return DispatchingAuthenticator(keys, sign_in, jwt, others, passthrough, metrics.token_refused)


def build_refused_tokens(
    settings: Settings, authenticator: Authenticator, token_status: TokenStatusCache, metrics: Metrics, clocks: Clocks
) -> RefusedTokens:
    """Return the throttle of refused tokens.

    A token that only the backend can check is never throttled. With an identity provider, all JWTs may be throttled,
    because the form of a JWT does not show its issuer.
    """
    takes_any, checks_jwts = "passthrough" in settings.auth, "jwt" in settings.auth

    def is_trusted(token: str, name: str) -> bool:
        is_checked = token.startswith(PREFIX) or (checks_jwts and token.count(".") == DOTS_IN_JWT)
        return (takes_any and not is_checked) or token_status.is_accepted(name)

    return RefusedTokens(
        settings.refused_tokens_per_minute,
        clocks.monotonic,
        name=authenticator.name,
        is_trusted=is_trusted,
        throttled=metrics.limit_reached("refused_tokens").inc,
    )


def _open_credential(vault: Vault, names: PassthroughAuthenticator, sealed: TeamCredential) -> Credential | None:
    """Return the decrypted credential; None if it was sealed with an unknown secret key."""
    try:
        secret = vault.open_credential(sealed)
    except CannotOpen:
        log.error(  # noqa: TRY400 - a wrong setting
            "Credential %s of team %s cannot be opened and is not used. %s", sealed.id, sealed.team_id, OTHER_KEY
        )
        return None
    return Credential(names.name(secret), secret)


async def _load_digest(directory: Directory, urls: AlertUrls, vault: Vault) -> KeyDigest:
    """Return the hash of team keys, and re-encrypt secrets that are sealed under a former secret key.

    Raises CannotOpen if the hash's own key is sealed under an unknown secret key.
    """
    try:
        digest = await load_key_digest(directory.facts, vault)
    except CannotOpen:
        log.error("%s. Team keys get 503 until then", OTHER_KEY)  # noqa: TRY400 - a wrong setting
        raise
    await seal_credentials_again(directory.credentials, vault)
    await seal_urls_again(urls, vault)
    return digest
