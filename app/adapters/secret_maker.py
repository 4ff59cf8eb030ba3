"""Creates team keys and client secrets, and seals credentials and webhook URLs of teams, for one database."""

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from app.adapters.auth.key_digest import KeyDigest, load_key_digest, load_pepper
from app.adapters.auth.sign_in_mint import SignInMint
from app.adapters.vault import CannotOpen, Vault, hint
from app.adapters.webhook_signature import PURPOSE, signing_secrets
from app.domain import api_key_format
from app.domain.budget import AlertTarget
from app.domain.sign_in_tokens import INVITATION
from app.domain.teams import Team, TeamCredential
from app.ports.directory import Directory, NewKey
from app.ports.people import NewInvitation
from app.ports.sealing import OtherSecretKey


class VaultSecretMaker:
    """The SecretMaker for one database and the service's secret keys.

    Every method but `signing_secret` raises OtherSecretKey and DatabaseUnavailable.
    """

    def __init__(self, directory: Directory, secret_keys: tuple[str, ...]) -> None:
        """Seal under `secret_keys` for `directory`."""
        self._directory = directory
        self._secret_keys = secret_keys
        self._vault = Vault(*secret_keys)

    async def new_key(self) -> tuple[str, NewKey]:
        """Return a new team key, and its record for the directory."""
        digest = await self._load_digest()
        key = api_key_format.encode(secrets.token_bytes(api_key_format.RANDOM_BYTES))
        return key, NewKey(secrets.token_hex(6), digest.of(key), api_key_format.hint(key))

    async def new_client_secret(self) -> tuple[str, str]:
        """Return a new secret of an OAuth client, and its digest."""
        mint = await self._load_mint()
        secret = mint.random()
        return secret, mint.digest(secret)

    async def new_invitation(self) -> tuple[str, NewInvitation]:
        """Return the code of a new invitation, and its record for the directory."""
        mint = await self._load_mint()
        code = INVITATION.encode(secrets.token_bytes(INVITATION.size))
        return code, NewInvitation(secrets.token_hex(6), mint.digest(code))

    async def member_hash(self) -> Callable[[str], str]:
        """Return the keyed hash function that makes the ids of people and of their memberships."""
        return (await self._load_digest()).of

    async def sealed(self, team: Team, backend: str, secret: str) -> TeamCredential:
        """Return the team's credential `secret` for a backend, sealed."""
        await self._load_digest()  # raises OtherSecretKey; the service could not unseal texts sealed under another key
        credential_id = secrets.token_hex(6)
        sealed = self._vault.seal_credential(team.id, credential_id, backend, secret)
        return TeamCredential(credential_id, team.id, backend, sealed, hint(secret), created_at=0.0)

    async def alert_target(self, team: Team, url: str) -> AlertTarget:
        """Return the target of a team's alerts: the sealed URL and its host."""
        await self._load_digest()  # raises OtherSecretKey, as above
        return AlertTarget(self._vault.seal(PURPOSE, url.encode(), team.id), urlsplit(url).hostname or "")

    def signing_secret(self, team: Team) -> str:
        """Return the signing secret of the team's webhooks under the current secret key."""
        return signing_secrets(team.id, self._secret_keys)[0]

    async def _load_mint(self) -> SignInMint:
        try:
            return SignInMint(await load_pepper(self._directory.facts, self._vault))
        except CannotOpen:
            raise OtherSecretKey from None

    async def _load_digest(self) -> KeyDigest:
        try:
            return await load_key_digest(self._directory.facts, self._vault)
        except CannotOpen:
            raise OtherSecretKey from None
