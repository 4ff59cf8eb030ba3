"""Makes keys, and seals what a team gives to the service, for one database."""

import secrets
from urllib.parse import urlsplit

from app.adapters.auth.key_digest import KeyDigest, load_key_digest, load_pepper
from app.adapters.auth.sign_in_mint import SignInMint
from app.adapters.vault import CannotOpen, Vault, hint
from app.adapters.webhook_signature import PURPOSE, signing_secrets
from app.domain import api_key_format
from app.domain.budget import AlertTarget
from app.domain.teams import Team, TeamCredential
from app.ports.directory import Directory, NewKey
from app.ports.sealing import OtherSecretKey


class VaultSecretMaker:
    """The SecretMaker of one database and the service's secret keys."""

    def __init__(self, directory: Directory, secret_keys: tuple[str, ...]) -> None:
        """Seal under `secret_keys` for `directory`."""
        self._directory = directory
        self._secret_keys = secret_keys
        self._vault = Vault(*secret_keys)

    async def new_key(self) -> tuple[str, NewKey]:
        """Return a key, and what the directory records of it."""
        digest = await self._digest()
        key = api_key_format.encode(secrets.token_bytes(api_key_format.RANDOM_BYTES))
        return key, NewKey(secrets.token_hex(6), digest.of(key), api_key_format.hint(key))

    async def new_client_secret(self) -> tuple[str, str]:
        """Return a secret of an OAuth client, and its digest."""
        try:
            mint = SignInMint(await load_pepper(self._directory.facts, self._vault))
        except CannotOpen:
            raise OtherSecretKey from None
        secret = mint.random()
        return secret, mint.digest(secret)

    async def sealed(self, team: Team, backend: str, secret: str) -> TeamCredential:
        """Return a credential of a team, sealed."""
        await self._digest()  # the service could not open what another secret key has sealed
        credential_id = secrets.token_hex(6)
        sealed = self._vault.seal_credential(team.id, credential_id, backend, secret)
        return TeamCredential(credential_id, team.id, backend, sealed, hint(secret), created_at=0.0)

    async def alert_target(self, team: Team, url: str) -> AlertTarget:
        """Return where alerts are sent, sealed for the team."""
        await self._digest()
        return AlertTarget(self._vault.seal(PURPOSE, url.encode(), team.id), urlsplit(url).hostname or "")

    def signing_secret(self, team: Team) -> str:
        """Return the secret of the team's webhooks under the current secret key."""
        return signing_secrets(team.id, self._secret_keys)[0]

    async def _digest(self) -> KeyDigest:
        try:
            return await load_key_digest(self._directory.facts, self._vault)
        except CannotOpen:
            raise OtherSecretKey from None
