"""Reads JSON Web Tokens without verifying them, to tell whose they claim to be."""

import json
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

_COMPACT_FORM = re.compile(r"(e[w-z][A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")
"""Three parts of base64url (RFC 7515), the first of which begins as the encoding of `{` does. `alg: none` leaves the
last one empty."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token that may be forged. Nothing in it may be believed before its signature is verified.

    Attributes:
        text: the token itself.
        header: the header; it has an `alg`.
        claims: the claims; `iss` is the issuer that was looked for.

    """

    text: str
    header: dict[str, Any]
    claims: dict[str, Any]

    def __repr__(self) -> str:
        """Return nothing of the token."""
        return "UnverifiedToken(…)"


def may_be_jwt(token: str) -> bool:
    """Return whether `token` may have the form of a JWT. It costs less than a microsecond."""
    return token.startswith("e") and token.count(".") == 2  # noqa: PLR2004 - the dots between three parts


def read_token(token: str, issuer: str) -> UnverifiedToken | None:
    """Return `token` if it has the form of a JWT, names an algorithm and claims to be of `issuer`; else None."""
    if (parts := _COMPACT_FORM.fullmatch(token)) is None:
        return None
    header, claims = _decoded(parts[1]), _decoded(parts[2])
    if header is None or claims is None or "alg" not in header or claims.get("iss") != issuer:
        return None
    return UnverifiedToken(token, header, claims)


def _decoded(part: str) -> dict[str, Any] | None:
    """Return the JSON object in a part; None if there is none."""
    try:
        value = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
