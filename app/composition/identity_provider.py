"""Builds the parts that verify tokens of an identity provider: its keys, and the rules of its claims."""

import os

from app.adapters.auth.jwt.claims import ClaimNames
from app.adapters.auth.jwt.issuer_client import IssuerClient
from app.adapters.auth.jwt.issuer_keys import IssuerKeys
from app.adapters.auth.jwt.verifier import TokenVerifier
from app.adapters.network_environment import EnvironmentFault
from app.composition.clocks import Clocks
from app.composition.description import VERSION
from app.domain.access import Scope
from app.settings import Settings, SettingsError


def build_issuer_keys(settings: Settings, clocks: Clocks) -> IssuerKeys | None:
    """Return the keys of the identity provider; None where its tokens are not accepted.

    Raises SettingsError for a proxy or certificate variable that cannot be used.
    """
    if "jwt" not in settings.auth or settings.jwt_issuer is None:
        return None
    try:
        client = IssuerClient(settings.jwt_issuer, f"luma-mcp/{VERSION}", os.environ)
    except EnvironmentFault as exc:
        raise SettingsError(str(exc)) from None
    return IssuerKeys(client.read_keys, clocks.monotonic, clocks.sleep)


def build_verifier(settings: Settings, keys: IssuerKeys, clocks: Clocks) -> TokenVerifier:
    """Return the verifier of the identity provider's tokens."""
    names = ClaimNames(
        settings.jwt_team_claim, settings.jwt_name_claim, settings.jwt_scope_claims, _granted(scope_names(settings))
    )
    audiences = frozenset(settings.jwt_audience or (f"{settings.public_url}/mcp",))
    return TokenVerifier(keys, settings.jwt_issuer or "", audiences, names, clocks.wall)


def scope_names(settings: Settings) -> dict[Scope, str]:
    """Return the names by which clients ask the identity provider for the scopes of this service."""
    return {Scope.READ: settings.jwt_read_scope, Scope.GENERATE: settings.jwt_generate_scope}


def _granted(names: dict[Scope, str]) -> dict[str, Scope]:
    """Return the scopes by what tokens hold: of a name such as api://luma/read, Entra ID writes the last part."""
    last_parts = {name.rpartition("/")[2]: scope for scope, name in names.items()}
    return last_parts | {name: scope for scope, name in names.items()}
