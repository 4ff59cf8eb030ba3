"""Reads the bearer token in an Authorization header."""

import re

LONGEST_TOKEN = 4096
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
"""A bearer token as RFC 6750 writes it."""


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in an Authorization header, or None where it is blank, malformed or of another scheme."""
    if authorization is None or len(authorization) > LONGEST_TOKEN:
        return None
    match = _BEARER.fullmatch(authorization)
    return match[1] if match else None
