"""Makes the tokens of sign-in, and the digests that the database stores in place of them.

All keys are derived from the pepper. The next refresh token of a rotation is the HMAC of the current one under such a
key. Concurrent refreshes therefore return the same token although none is stored, and it cannot be computed from the
current one without the pepper.
"""

import base64
import hmac
import os
import secrets

from app.domain import sign_in_tokens as formats
from app.domain.access import Scope
from app.domain.teams import written_scopes
from app.domain.token_form import TokenForm

STATE_TAG_LENGTH = 22
"""Characters of the authentication tag at the end of a `state`: 132 bits in base64."""


class SignInMint:
    """Implements TokenMint. Its keys come from the pepper of one database."""

    def __init__(self, pepper: bytes) -> None:
        """Derive a key for each purpose from `pepper`."""
        self._keys = {name: hmac.digest(pepper, b"sign-in:" + name.encode(), "sha256") for name in _PURPOSES}
        self._digest = hmac.new(self._keys["digest"], digestmod="sha256")

    def code(self) -> str:
        """Return a new authorization code."""
        return formats.CODE.encode(os.urandom(formats.CODE.size))

    def first_refresh(self, grant_id: str) -> str:
        """Return the first refresh token of a grant."""
        return self._refresh(bytes.fromhex(grant_id), os.urandom(formats.SECRET_BYTES))

    def successor(self, refresh: str) -> str:
        """Return the refresh token that replaces `refresh`: always the same one."""
        grant_id = bytes.fromhex(self.grant_of(refresh) or "")
        return self._refresh(grant_id, self._hmac("successor", refresh.encode())[: formats.SECRET_BYTES])

    def access(self, refresh: str, scopes: frozenset[Scope]) -> str:
        """Return the access token for a refresh token and these scopes: always the same one."""
        secret = self._hmac("access", f"{refresh} {written_scopes(scopes)}".encode())[: formats.SECRET_BYTES]
        return self._tagged(formats.ACCESS, secret, "access_tag")

    def is_access(self, token: str) -> bool:
        """Return whether this service has made the access token `token`; False for any other text."""
        return self._untagged(formats.ACCESS, token, "access_tag") is not None

    def grant_of(self, refresh: str) -> str | None:
        """Return the id of the grant of a refresh token that this service has made; None for any other text."""
        payload = self._untagged(formats.REFRESH, refresh, "tag")
        return payload[: formats.GRANT_BYTES].hex() if payload is not None else None

    def random(self) -> str:
        """Return a new random secret in URL-safe characters."""
        return secrets.token_urlsafe(32)

    def state(self, browser: str) -> str:
        """Return a new `state` for a login. `browser` is the secret in the cookie of the browser that begins it."""
        secret = self.random()
        return secret + self._state_tag(secret, browser)

    def is_state(self, state: str, browser: str) -> bool:
        """Return whether this service has made `state` for the browser with this secret."""
        secret, tag = state[:-STATE_TAG_LENGTH], state[-STATE_TAG_LENGTH:]
        return hmac.compare_digest(tag.encode(), self._state_tag(secret, browser).encode())

    def digest(self, token: str) -> str:
        """Return the keyed hash that the database stores in place of a secret: 64 hexadecimal digits."""
        keyed = self._digest.copy()
        keyed.update(token.encode())
        return keyed.hexdigest()

    def person_id(self, issuer: str, subject: str) -> str:
        """Return the id of a person, a keyed hash of issuer and subject: 32 hexadecimal digits."""
        return self._hmac("person", f"{issuer}|{subject}".encode())[:16].hex()

    def _refresh(self, grant_id: bytes, secret: bytes) -> str:
        return self._tagged(formats.REFRESH, grant_id + secret, "tag")

    def _state_tag(self, secret: str, browser: str) -> str:
        tag = self._hmac("state", f"{secret} {browser}".encode(errors="replace"))
        return base64.urlsafe_b64encode(tag).decode()[:STATE_TAG_LENGTH]

    def _tagged(self, form: TokenForm, payload: bytes, purpose: str) -> str:
        """Return the token of `payload` and its authentication tag, which is made for `purpose`."""
        return form.encode(payload + self._hmac(purpose, payload)[: formats.TAG_BYTES])

    def _untagged(self, form: TokenForm, token: str, purpose: str) -> bytes | None:
        """Return the payload of a token; None if it is not well-formed, or its tag was not made here for `purpose`."""
        content = form.decode(token)
        if content is None:
            return None
        payload, tag = content[: -formats.TAG_BYTES], content[-formats.TAG_BYTES :]
        is_genuine = hmac.compare_digest(tag, self._hmac(purpose, payload)[: formats.TAG_BYTES])
        return payload if is_genuine else None

    def _hmac(self, purpose: str, text: bytes) -> bytes:
        return hmac.digest(self._keys[purpose], text, "sha256")


_PURPOSES = ("digest", "successor", "access", "access_tag", "tag", "person", "state")
