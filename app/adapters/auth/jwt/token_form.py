"""Decodes JSON Web Tokens without verifying them, to read the issuer that they claim."""

import json
import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

_COMPACT_FORM = re.compile(r"(e[w-z][A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")
"""Three base64url parts (RFC 7515). The first begins like the encoding of `{`; for `alg: none` the last is empty."""

_JSON_PART = re.compile(r"(?<![A-Za-z0-9_-])e[w-z][A-Za-z0-9_-]+")
"""A part, between any other characters, that begins like the encoding of `{`."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A decoded token whose signature is not verified. It may be forged, so its content must not be trusted.

    Attributes:
        text: the encoded token.
        header: the header; it has an `alg`.
        claims: the claims.

    """

    text: str
    header: dict[str, Any]
    claims: dict[str, Any]

    def __repr__(self) -> str:
        """Return a constant, so that logs do not contain the token."""
        return "UnverifiedToken(…)"


def may_be_jwt(token: str) -> bool:
    """Return whether `token` could be a JWT, by a test that takes less than a microsecond."""
    return token.startswith("e") and token.count(".") == 2  # noqa: PLR2004 - the dots between three parts


def contains_claims_of(issuer: str, token: str) -> bool:
    """Return whether a part of `token`, which need not be a JWT, is the encoding of claims with `issuer` as `iss`."""
    parts = _JSON_PART.findall(token)
    return any((claims := _decoded(part)) is not None and claims.get("iss") == issuer for part in parts)


def decode_token_of_issuer(token: str, issuer: str) -> UnverifiedToken | None:
    """Return the decoded token if it is a JWT with an `alg` and claims `issuer` as its `iss`, else None."""
    decoded = decode_token(token)
    return decoded if decoded is not None and decoded.claims.get("iss") == issuer else None


def decode_token(token: str) -> UnverifiedToken | None:
    """Return the decoded token, of any issuer, if it is a JWT with an `alg`, else None."""
    if (parts := _COMPACT_FORM.fullmatch(token)) is None:
        return None
    header, claims = _decoded(parts[1]), _decoded(parts[2])
    if header is None or claims is None or "alg" not in header:
        return None
    return UnverifiedToken(token, header, claims)


def _decoded(part: str) -> dict[str, Any] | None:
    """Return the JSON object in a base64url part; None if it is not one."""
    try:
        value = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
