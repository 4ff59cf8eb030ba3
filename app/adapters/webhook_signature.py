"""The signatures of webhooks, and the sealing of their URLs."""

import base64
import hmac

from app.adapters.vault import CannotOpen, Vault
from app.ports.alerts import WebhookUrls

PURPOSE = "alert url"
"""The purpose for which the vault seals the URL of a team's alerts."""


def signing_secrets(team_id: str, secret_keys: tuple[str, ...]) -> list[str]:
    """Return the signing secrets of a team's webhooks, one for each secret key, in the form `whsec_…` for receivers."""
    return [f"whsec_{base64.b64encode(_key(team_id, secret)).decode()}" for secret in secret_keys]


def signature(team_id: str, secret_key: str, signed: bytes) -> str:
    """Return a signature of the bytes `signed`, of version 1 of the Standard Webhooks specification."""
    digest = hmac.digest(_key(team_id, secret_key), signed, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(team_id: str, secret_key: str) -> bytes:
    return hmac.digest(secret_key.encode(), f"webhook:{team_id}".encode(), "sha256")


async def seal_urls_again(urls: WebhookUrls, vault: Vault) -> None:
    """Seal the alert URL of every budget of every team under the current secret keys. Raises DatabaseUnavailable.

    A URL that cannot be decrypted stays as it is. The failure is logged when an alert is to be sent there.
    """
    for team_id, sealed in await urls.sealed_urls():
        if vault.is_current(sealed):
            continue
        try:
            url = vault.open(PURPOSE, sealed, team_id)
        except CannotOpen:
            continue
        await urls.replace_sealed_url(team_id, sealed, vault.seal(PURPOSE, url, team_id))
