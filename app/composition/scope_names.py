"""The identity provider's names for the scopes of this service."""

from app.domain.access import Scope
from app.settings import Settings


def scope_names(settings: Settings) -> dict[Scope, str]:
    """Return the names under which clients ask the identity provider for the scopes of this service."""
    return {Scope.READ: settings.jwt_read_scope, Scope.GENERATE: settings.jwt_generate_scope}
