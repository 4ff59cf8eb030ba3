"""Encrypts JSON contents with the service's vault. The caller keeps the sealed text."""

import json
from collections.abc import Mapping
from typing import Any

from app.adapters.vault import CannotOpen, Vault


class VaultContentSealer:
    """The ContentSealer that uses the service's vault."""

    def __init__(self, vault: Vault) -> None:
        """Seal with `vault`."""
        self._vault = vault

    def seal(self, purpose: str, content: Mapping[str, Any], *context: str) -> str:
        """Return `content` sealed for `purpose` and `context`."""
        return self._vault.seal(f"sign-in:{purpose}", json.dumps(content).encode(), *context)

    def unseal(self, purpose: str, text: str, *context: str) -> dict[str, Any] | None:
        """Return the content; None if `text` was not sealed by this service for this purpose and context."""
        try:
            content: dict[str, Any] = json.loads(self._vault.open(f"sign-in:{purpose}", text, *context))
        except CannotOpen:
            return None
        return content
