"""Encrypts and authenticates short texts that callers or the backend keep. Only this service can make or read them."""

import base64
import binascii
import hmac
import json
import os
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.adapters.secret_keys import key_bytes

_NONCE_BYTES = 12
MAX_SEALED_LENGTH = 2048
"""Maximum length, in characters, of a sealed text."""


class TokenSealer:
    """Seals texts with AES-GCM, under a key for each purpose that is derived from a secret key.

    A text sealed for one purpose or audience is invalid for any other. Each sealed text has a single valid encoding.
    """

    def __init__(self, *secrets: str) -> None:
        """Derive keys from each of `secrets`: the first one seals, all of them unseal."""
        self._secrets = key_bytes(secrets)
        self._ciphers: dict[str, tuple[AESGCM, ...]] = {}

    def seal(self, purpose: str, content: dict[str, Any], audience: str = "") -> str:
        """Return `content` sealed for `purpose` and `audience`, as URL-safe base64 without padding."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(content, separators=(",", ":")).encode()
        sealed = nonce + self._ciphers_for(purpose)[0].encrypt(nonce, plain, audience.encode())
        return _encoded(sealed)

    def unseal(self, purpose: str, text: str, audiences: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return the content of a sealed text; None if it was not sealed by this service for this purpose and audience.

        `audiences` has the audience's name under each secret, in the order of the secrets; or a single name, which is
        the same under all secrets; or nothing, which means the audience "".
        """
        if len(text) > MAX_SEALED_LENGTH or not text.isascii():
            return None
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if _encoded(sealed) != text:  # padded, in the standard alphabet, or with unused bits that are not zero
                return None
        except (binascii.Error, ValueError):
            return None
        names = audiences if len(audiences) > 1 else [*audiences, ""][:1] * len(self._secrets)
        for cipher, audience in zip(self._ciphers_for(purpose), names, strict=True):
            try:
                plain = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], audience.encode())
            except (InvalidTag, ValueError):
                continue
            content: dict[str, Any] = json.loads(plain)
            return content
        return None

    def _ciphers_for(self, purpose: str) -> tuple[AESGCM, ...]:
        """Return the ciphers of this purpose, one for each secret."""
        if purpose not in self._ciphers:
            keys = (hmac.digest(secret, b"seal:" + purpose.encode(), "sha256") for secret in self._secrets)
            self._ciphers[purpose] = tuple(map(AESGCM, keys))
        return self._ciphers[purpose]


def _encoded(sealed: bytes) -> str:
    """Return the only encoding of sealed bytes that `unseal` accepts."""
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
