"""Builds the authenticators for the authentication methods enabled in LUMA_MCP_AUTH, and for sign-in."""

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
from app.domain.sign_in_tokens import is_of_sign_in
from app.domain.teams import TeamCredential
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.persistence import Persistence
from app.ports.alerts import WebhookUrls
from app.ports.auth import Authenticator, TokenCheck
from app.ports.directory import Directory
from app.services.limits.refused_tokens import RefusedTokens
from app.services.limits.token_status import TokenStatusCache
from app.services.teams.directory_cache import DirectoryCache
from app.services.teams.opening import TeamDirectory
from app.services.version_follower import CacheClocks
from app.settings import Settings

if TYPE_CHECKING:
    from app.adapters.auth.jwt.issuer_keys import IssuerKeys

OTHER_KEY = (
    "The team secrets in the database are encrypted with another LUMA_MCP_SECRET_KEY. Set that key, or append it to "
    "LUMA_MCP_SECRET_KEY after the current one"
)

DOTS_IN_JWT = 2

log = logging.getLogger(__name__)


def build_directory(
    settings: Settings, persistence: Persistence, clocks: Clocks, refusals: Refusals
) -> TeamDirectory[KeyDigest] | None:
    """Return the directory of teams if an enabled authentication method uses it and a secret key is set, else None."""
    uses_teams = "keys" in settings.auth or "jwt" in settings.auth or settings.sign_in == "oidc"
    # Only `luma-mcp check` has no secret key: it does not read the key file of an SQLite database.
    if not uses_teams or not settings.secret_key:
        return None
    directory, vault = sql_directory(persistence.database, clocks.database), Vault(*settings.secret_keys())
    credential_of = partial(_decrypt_credential, vault, PassthroughAuthenticator(*settings.secret_keys()))
    times = CacheClocks(clocks.wall, clocks.monotonic, clocks.sleep)
    cache = DirectoryCache(directory, credential_of, settings.backend, times, directory_reporter(refusals))
    return TeamDirectory(
        cache, directory, partial(_load_digest, directory, SqlAlerts(persistence.database), vault), clocks.sleep
    )


def build_authenticator(  # noqa: PLR0913, PLR0917 - the dependencies of all authentication methods
    settings: Settings,
    directory: TeamDirectory[KeyDigest] | None,
    issuer: "IssuerKeys | None",
    backend: BackendDescription,
    token_status: TokenStatusCache,
    clocks: Clocks,
    metrics: Metrics,
    sign_in: TokenCheck | None = None,
) -> Authenticator:
    """Return the authenticator, which passes each token to one of the enabled methods, by the token's form.

    `sign_in` is the method for the access tokens of sign-in; None if sign-in is off.
    """
    passthrough = PassthroughAuthenticator(*settings.secret_keys())
    keys, jwt = None, None
    if directory is not None and "keys" in settings.auth:
        keys = TeamKeyAuthenticator(
            directory.cache, directory.digest, backend, clocks.monotonic, token_status.accept, passthrough.hash_token
        )
    if directory is not None and issuer is not None:
        memberships = build_memberships(settings, directory)
        credentials_of = member_credentials(settings, directory, backend)
        jwt = jwt_authenticator(
            settings, issuer, memberships, credentials_of, clocks, token_status.accept, passthrough.hash_token
        )
    fallback = passthrough if "passthrough" in settings.auth else None
    return DispatchingAuthenticator(keys, sign_in, jwt, fallback, passthrough, metrics.token_refused)


def build_refused_tokens(
    settings: Settings, authenticator: Authenticator, token_status: TokenStatusCache, metrics: Metrics, clocks: Clocks
) -> RefusedTokens:
    """Return the throttle of refused tokens.

    With passthrough, a token that only the backend can check is exempt: the service never refuses it. Tokens with the
    prefix of team keys or of sign-in are never passed to the backend, so they are throttled. With an identity provider,
    all JWTs are throttled, because the form of a JWT does not show its issuer. A token that was accepted lately is
    always exempt.
    """
    allows_passthrough, checks_jwts = "passthrough" in settings.auth, "jwt" in settings.auth

    def is_exempt(token: str, token_hash: str) -> bool:
        has_prefix = token.startswith(PREFIX) or is_of_sign_in(token)
        is_checked_here = has_prefix or (checks_jwts and token.count(".") == DOTS_IN_JWT)
        return (allows_passthrough and not is_checked_here) or token_status.is_accepted(token_hash)

    return RefusedTokens(
        settings.refused_tokens_per_minute,
        clocks.monotonic,
        hash_token=authenticator.hash_token,
        is_exempt=is_exempt,
        on_throttled=metrics.limit_reached("refused_tokens").inc,
    )


def _decrypt_credential(vault: Vault, hasher: PassthroughAuthenticator, sealed: TeamCredential) -> Credential | None:
    """Return the decrypted credential. If it cannot be decrypted, log an error and return None."""
    try:
        secret = vault.open_credential(sealed)
    except CannotOpen:
        log.error(  # noqa: TRY400 - a wrong setting
            "Credential %s of team %s cannot be decrypted and is not used. %s", sealed.id, sealed.team_id, OTHER_KEY
        )
        return None
    return Credential(hasher.hash_token(secret), secret)


async def _load_digest(directory: Directory, urls: WebhookUrls, vault: Vault) -> KeyDigest:
    """Return the digest of team keys. Its pepper is created if the database has none.

    As a side effect, the pepper, credentials and webhook URLs that were sealed under a former secret key are sealed
    again under the current one.
    Raises CannotOpen if the pepper cannot be decrypted, and DatabaseUnavailable.
    """
    try:
        digest = await load_key_digest(directory.facts, vault)
    except CannotOpen:
        log.error("Team keys get 503. %s, and restart the service", OTHER_KEY)  # noqa: TRY400 - a wrong setting
        raise
    await seal_credentials_again(directory.credentials, vault)
    await seal_urls_again(urls, vault)
    return digest
