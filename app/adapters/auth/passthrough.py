"""Bearer tokens: how they are read from a header, and which tenant each stands for.

The tenant is a keyed hash of the token, so that it may be stored and logged.
"""

import hmac
import re

from app.adapters.secret_keys import key_bytes
from app.domain.principal import Principal

LONGEST_TOKEN = 4096
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
"""A bearer token as RFC 6750 writes it."""

_PURPOSE = b"tenant:"


class PassthroughAuthenticator:
    """Names callers by a keyed hash of their token. A copy of the cache identifies nobody without the key."""

    def __init__(self, *secrets: str) -> None:
        """Key the hash with the first of `secrets`; under the others, a caller has names from before a rotation."""
        current, *former = (hmac.new(key, _PURPOSE, "sha256") for key in key_bytes(secrets))
        self._current, self._former = current, former

    def principal(self, token: str) -> Principal:
        """Return the caller who holds `token`. The backend, not this service, knows whether it is good."""
        former = tuple(_name(keyed, token) for keyed in self._former) if self._former else ()
        return Principal(tenant=_name(self._current, token), credential=token, former=former)


def _name(keyed: hmac.HMAC, token: str) -> str:
    hashed = keyed.copy()
    hashed.update(token.encode())
    return hashed.digest()[:16].hex()


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in an Authorization header, or None where it is blank, malformed or of another scheme."""
    if authorization is None or len(authorization) > LONGEST_TOKEN:
        return None
    match = _BEARER.fullmatch(authorization)
    return match[1] if match else None
