"""Reads the bearer token in an Authorization header."""

import re

MAX_HEADER_LENGTH = 8192
"""Maximum length, in characters, of the header's value: scheme, spaces and token.

Entra ID's tokens with many groups come near it.
"""

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
"""RFC 6750's credentials: the scheme, spaces and a b64token. Trailing spaces are accepted as well."""


def bearer_token(authorization: str | None) -> str | None:
    """Return the token in an Authorization header's value.

    Return None if the header is absent, too long, malformed or of another scheme.
    """
    if authorization is None or is_oversized(authorization):
        return None
    match = _BEARER.fullmatch(authorization)
    return match[1] if match else None


def is_oversized(authorization: str | None) -> bool:
    """Return whether an Authorization header's value is too long to be read."""
    return authorization is not None and len(authorization) > MAX_HEADER_LENGTH
