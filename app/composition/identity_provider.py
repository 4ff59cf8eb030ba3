"""Builds the authenticator for JWTs of an identity provider, and the cache of the provider's signing keys."""

import os
from collections.abc import Callable

from app.adapters.auth.jwt.authenticator import JwtAuthenticator, TokenClocks
from app.adapters.auth.jwt.claims import ClaimNames
from app.adapters.auth.jwt.issuer_client import IssuerClient
from app.adapters.auth.jwt.issuer_keys import MAX_WAITING, IssuerKeys
from app.adapters.auth.jwt.verifier import Audiences, TokenVerifier
from app.adapters.network_environment import EnvironmentFault
from app.composition.clocks import Clocks
from app.composition.description import VERSION
from app.composition.refusal_reporters import issuer_keys_reporter
from app.composition.scope_names import scope_names
from app.domain.access import Scope
from app.domain.oauth import MCP_PATH, READ_ONLY_PATH
from app.domain.teams import Membership
from app.observability.refusals import Refusals
from app.ports.auth import CredentialSource
from app.services.teams.memberships import Memberships
from app.settings import Settings, SettingsError


def build_issuer_keys(issuer: str, clocks: Clocks, refusals: Refusals) -> IssuerKeys:
    """Return a cache of the signing keys (JWKS) of an identity provider. Nothing is fetched here.

    Raises SettingsError for a proxy or certificate variable that cannot be used.
    """
    try:
        client = IssuerClient(issuer, f"luma-mcp/{VERSION}", os.environ)
    except EnvironmentFault as exc:
        raise SettingsError(str(exc)) from None
    return IssuerKeys(client.read_keys, clocks.monotonic, clocks.sleep, issuer_keys_reporter(refusals, MAX_WAITING))


def build_jwt_authenticator(  # noqa: PLR0913, PLR0917 - the dependencies of JwtAuthenticator
    settings: Settings,
    keys: IssuerKeys,
    memberships: Memberships,
    credentials_of: Callable[[Membership], CredentialSource],
    clocks: Clocks,
    record_accepted: Callable[[str], None],
    hash_token: Callable[[str], str],
) -> JwtAuthenticator:
    """Return the authenticator for tokens of the identity provider.

    `record_accepted` is called twice for an accepted token, with the member's id and with the keyed hash of the token
    from `hash_token`.
    """
    times = TokenClocks(clocks.wall, clocks.monotonic)
    return JwtAuthenticator(
        _verifier(settings, keys, clocks), memberships, credentials_of, times, record_accepted, hash_token
    )


def _verifier(settings: Settings, keys: IssuerKeys, clocks: Clocks) -> TokenVerifier:
    names = ClaimNames(
        settings.jwt_team_claim,
        settings.jwt_name_claim,
        settings.jwt_scope_claims,
        _scopes_by_name(scope_names(settings)),
    )
    default_audiences = Audiences(
        frozenset({f"{settings.public_url}{MCP_PATH}"}), frozenset({f"{settings.public_url}{READ_ONLY_PATH}"})
    )
    audiences = Audiences(frozenset(settings.jwt_audience)) if settings.jwt_audience else default_audiences
    return TokenVerifier(keys, settings.jwt_issuer or "", audiences, names, clocks.wall)


def _scopes_by_name(names: dict[Scope, str]) -> dict[str, Scope]:
    """Return the scopes by their names in tokens.

    Entra ID writes only the last part of a name such as api://luma/read into tokens, so both forms are accepted.
    """
    last_parts = {name.rpartition("/")[2]: scope for scope, name in names.items()}
    return last_parts | {name: scope for scope, name in names.items()}
