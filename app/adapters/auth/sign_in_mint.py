"""Makes the tokens of sign-in and the digests that stand for them, under keys that are derived from the pepper.

The successor of a refresh token is derived from it. So repeated and concurrent refreshes agree without the successor
being kept anywhere, and nobody can compute it from a token alone.
"""

import hmac
import os
import secrets

from app.domain import sign_in_tokens as forms
from app.domain.access import Scope
from app.domain.teams import written_scopes


class SignInMint:
    """Tokens under one pepper."""

    def __init__(self, pepper: bytes) -> None:
        """Derive a key for each purpose from `pepper`."""
        self._keys = {name: hmac.digest(pepper, b"sign-in:" + name.encode(), "sha256") for name in _PURPOSES}
        self._digest = hmac.new(self._keys["digest"], digestmod="sha256")

    def code(self) -> str:
        """Return a new authorization code."""
        return forms.CODE.encode(os.urandom(forms.CODE.size))

    def first_refresh(self, grant_id: str) -> str:
        """Return the first refresh token of a grant."""
        return self._refresh(bytes.fromhex(grant_id), os.urandom(forms.SECRET_BYTES))

    def successor(self, refresh: str) -> str:
        """Return the refresh token that follows `refresh`: always the same."""
        grant_id = bytes.fromhex(self.grant_of(refresh) or "")
        return self._refresh(grant_id, self._keyed("successor", refresh.encode())[: forms.SECRET_BYTES])

    def access(self, refresh: str, scopes: frozenset[Scope]) -> str:
        """Return the access token that belongs to a refresh token and these scopes: always the same."""
        return forms.ACCESS.encode(self._keyed("access", f"{refresh} {written_scopes(scopes)}".encode()))

    def grant_of(self, refresh: str) -> str | None:
        """Return the id of the grant of a refresh token that this service has made; None for any other text."""
        content = forms.REFRESH.decode(refresh)
        if content is None:
            return None
        made, tag = content[: -forms.TAG_BYTES], content[-forms.TAG_BYTES :]
        return made[: forms.GRANT_BYTES].hex() if hmac.compare_digest(tag, self._tag(made)) else None

    def random(self) -> str:
        """Return a new random secret in URL-safe characters."""
        return secrets.token_urlsafe(32)

    def digest(self, token: str) -> str:
        """Return the keyed hash that stands for a secret in the database: 64 hexadecimal digits."""
        keyed = self._digest.copy()
        keyed.update(token.encode())
        return keyed.hexdigest()

    def person_id(self, issuer: str, subject: str) -> str:
        """Return the keyed hash that names a person: 32 hexadecimal digits."""
        return self._keyed("person", f"{issuer}|{subject}".encode())[:16].hex()

    def _refresh(self, grant_id: bytes, secret: bytes) -> str:
        made = grant_id + secret
        return forms.REFRESH.encode(made + self._tag(made))

    def _tag(self, made: bytes) -> bytes:
        return self._keyed("tag", made)[: forms.TAG_BYTES]

    def _keyed(self, purpose: str, text: bytes) -> bytes:
        return hmac.digest(self._keys[purpose], text, "sha256")


_PURPOSES = ("digest", "successor", "access", "tag", "person")
