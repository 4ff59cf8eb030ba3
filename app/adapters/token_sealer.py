"""Sealed texts: handed out to callers and the backend, readable and forgeable by this service alone."""

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
LONGEST_SEALED = 2048


class TokenSealer:
    """AES-GCM under keys derived from the service's secret, one for each purpose.

    A text sealed for one purpose or audience is invalid for any other, and has one valid spelling only.
    """

    def __init__(self, *secrets: str) -> None:
        """Derive keys from each of `secrets`: the first one seals, all of them open."""
        self._secrets = key_bytes(secrets)
        self._ciphers: dict[str, tuple[AESGCM, ...]] = {}

    def seal(self, purpose: str, content: dict[str, Any], audience: str = "") -> str:
        """Return `content` sealed for `purpose` and `audience`, in characters that any URL takes."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = json.dumps(content, separators=(",", ":")).encode()
        sealed = nonce + self._under(purpose)[0].encrypt(nonce, plain, audience.encode())
        return _text(sealed)

    def unseal(self, purpose: str, text: str, audiences: Sequence[str] = ()) -> dict[str, Any] | None:
        """Return what was sealed, or None for anything that was not sealed here for this purpose and audience.

        `audiences` has the name of the one audience under each secret, in their order.
        """
        if len(text) > LONGEST_SEALED or not text.isascii():
            return None
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            if _text(sealed) != text:  # padded, in the other alphabet, or with bits behind the last byte
                return None
        except (binascii.Error, ValueError):
            return None
        for cipher, audience in zip(self._under(purpose), audiences or [""] * len(self._secrets), strict=True):
            try:
                plain = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], audience.encode())
            except (InvalidTag, ValueError):
                continue
            content: dict[str, Any] = json.loads(plain)
            return content
        return None

    def _under(self, purpose: str) -> tuple[AESGCM, ...]:
        """Return the cipher of this purpose under each secret."""
        if purpose not in self._ciphers:
            keys = (hmac.digest(secret, b"seal:" + purpose.encode(), "sha256") for secret in self._secrets)
            self._ciphers[purpose] = tuple(map(AESGCM, keys))
        return self._ciphers[purpose]


def _text(sealed: bytes) -> str:
    """Return the one spelling of sealed bytes that opens."""
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
