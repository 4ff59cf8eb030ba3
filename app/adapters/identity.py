"""Bearer tokens: how they are read from a header, and which tenant each stands for.

The tenant is a keyed hash of the token, so that it may be stored and logged.
"""

import hmac
import re
import secrets

from app.domain.principal import Principal

LONGEST_TOKEN = 4096
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
"""A bearer token as RFC 6750 writes it."""

_PURPOSE = b"tenant:"


class Tenants:
    """Names callers by a keyed hash of their token. A copy of the cache identifies nobody without the key."""

    def __init__(self, secret_key: str | None) -> None:
        """Key the hash with `secret_key`, or with random bytes of this process if there is none."""
        key = secret_key.encode() if secret_key is not None else secrets.token_bytes(32)
        self._keyed = hmac.new(key, _PURPOSE, "sha256")

    def principal(self, token: str) -> Principal:
        """Return the caller who holds `token`. The backend, not this service, knows whether it is good."""
        hashed = self._keyed.copy()
        hashed.update(token.encode())
        return Principal(tenant=hashed.digest()[:16].hex(), credential=token)


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in an Authorization header, or None where it is blank, malformed or of another scheme."""
    if authorization is None or len(authorization) > LONGEST_TOKEN:
        return None
    match = _BEARER.fullmatch(authorization)
    return match[1] if match else None
