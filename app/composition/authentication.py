"""Builds authentication: the ways that LUMA_MCP_AUTH names."""

import logging
from functools import partial

from app.adapters.auth.chain import ByForm
from app.adapters.auth.key_digest import KeyDigest, load_key_digest
from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.auth.team_keys import TeamKeyAuthenticator
from app.adapters.sql.directory import sql_directory
from app.adapters.vault import CannotOpen, Vault, seal_credentials_again
from app.composition.clocks import Clocks
from app.domain.access import Credential
from app.domain.api_key_format import PREFIX
from app.domain.backend import BackendDescription
from app.domain.teams import TeamCredential
from app.observability.metrics import Metrics
from app.persistence import Persistence
from app.ports.auth import Authenticator
from app.ports.directory import Directory
from app.services.limits.refused_tokens import RefusedTokens
from app.services.limits.token_status import TokenStatusCache
from app.services.teams.directory_cache import DirectoryCache, DirectoryClocks
from app.services.teams.opening import OpenDirectory
from app.settings import Settings

OTHER_KEY = (
    "The keys of teams in the database were made under another LUMA_MCP_SECRET_KEY: set that one, or add it behind the "
    "present one"
)

log = logging.getLogger(__name__)


def build_directory(settings: Settings, persistence: Persistence, clocks: Clocks) -> OpenDirectory[KeyDigest] | None:
    """Return the directory of teams; None where keys are not accepted."""
    if "keys" not in settings.auth or not settings.secret_key:  # `check` builds without the key file beside SQLite
        return None
    directory, vault = sql_directory(persistence.database, clocks.database), Vault(*settings.secret_keys())
    credential_of = partial(_opened, vault, PassthroughAuthenticator(*settings.secret_keys()))
    times = DirectoryClocks(clocks.wall, clocks.monotonic, clocks.sleep)
    cache = DirectoryCache(directory, credential_of, settings.backend, times)
    return OpenDirectory(cache, partial(_open, directory, vault), clocks.sleep)


def build_authenticator(
    settings: Settings,
    directory: OpenDirectory[KeyDigest] | None,
    backend: BackendDescription,
    token_status: TokenStatusCache,
    clocks: Clocks,
) -> Authenticator:
    """Return the authenticator of the ways that are on."""
    passthrough = PassthroughAuthenticator(*settings.secret_keys())
    keys = None
    if directory is not None:
        keys = TeamKeyAuthenticator(
            directory.cache, directory.digest, backend, clocks.monotonic, token_status.accept, passthrough.name
        )
    return ByForm(keys, passthrough if "passthrough" in settings.auth else None, passthrough)


def build_refused_tokens(
    settings: Settings, authenticator: Authenticator, token_status: TokenStatusCache, metrics: Metrics, clocks: Clocks
) -> RefusedTokens:
    """Return the throttle of refused tokens. A token that nobody but the backend checks is never throttled."""
    takes_any = "passthrough" in settings.auth

    def is_trusted(token: str, name: str) -> bool:
        return (takes_any and not token.startswith(PREFIX)) or token_status.is_accepted(name)

    return RefusedTokens(
        settings.refused_tokens_per_minute,
        clocks.monotonic,
        name=authenticator.name,
        is_trusted=is_trusted,
        throttled=metrics.limit_reached("refused_tokens").inc,
    )


def _opened(vault: Vault, names: PassthroughAuthenticator, sealed: TeamCredential) -> Credential | None:
    try:
        secret = vault.open_credential(sealed)
    except CannotOpen:
        log.error("Credential %s of team %s cannot be opened. %s", sealed.id, sealed.team_id, OTHER_KEY)  # noqa: TRY400
        return None
    return Credential(names.name(secret), secret)


async def _open(directory: Directory, vault: Vault) -> KeyDigest:
    try:
        digest = await load_key_digest(directory.facts, vault)
    except CannotOpen:
        log.error("%s. Keys get 503 until then", OTHER_KEY)  # noqa: TRY400 - a setting, and no fault of the program
        raise
    await seal_credentials_again(directory.credentials, vault)
    return digest
