"""Sealed texts: handed out to callers and the backend, readable and forgeable by this service alone."""

import base64
import binascii
import hmac
import json
import os
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
LONGEST_SEALED = 2048


class Seal:
    """AES-GCM under keys derived from the service's secret, one for each purpose.

    What is sealed for one purpose or for one audience opens for no other, and in one spelling only.
    """

    def __init__(self, secret_key: str | None) -> None:
        """Derive from `secret_key`; without it, from one that this process alone knows."""
        self._secret = secret_key.encode() if secret_key is not None else secrets.token_bytes(32)
        self._ciphers: dict[str, AESGCM] = {}

    def close(self, purpose: str, content: dict[str, Any], audience: str = "") -> str:
        """Return `content` sealed for `purpose` and `audience`, in characters that any URL takes."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(content, separators=(",", ":")).encode()
        sealed = nonce + self._cipher(purpose).encrypt(nonce, plain, audience.encode())
        return _text(sealed)

    def open(self, purpose: str, text: str, audience: str = "") -> dict[str, Any] | None:
        """Return what was sealed, or None for anything that was not sealed here for this purpose and audience."""
        if len(text) > LONGEST_SEALED or not text.isascii():
            return None
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if _text(sealed) != text:  # padded, in the other alphabet, or with bits behind the last byte
                return None
            plain = self._cipher(purpose).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], audience.encode())
        except (binascii.Error, InvalidTag, ValueError):
            return None
        content: dict[str, Any] = json.loads(plain)
        return content

    def _cipher(self, purpose: str) -> AESGCM:
        if purpose not in self._ciphers:
            self._ciphers[purpose] = AESGCM(hmac.digest(self._secret, b"seal:" + purpose.encode(), "sha256"))
        return self._ciphers[purpose]


def _text(sealed: bytes) -> str:
    """Return the one spelling of sealed bytes that opens."""
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
