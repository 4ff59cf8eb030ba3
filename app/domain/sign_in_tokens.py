"""The formats of the tokens of sign-in. Each kind has its own prefix, so kinds cannot be confused."""

from app.domain.token_form import TokenForm

ACCESS = TokenForm("lat_", 32)
"""A secret (24 bytes) and an authentication tag (8)."""
REFRESH = TokenForm("lrt_", 48)
"""The grant's id (16 bytes), a secret (24) and an authentication tag (8).

The tags detect made-up tokens, so that these cost no look-up in the database.
"""
CODE = TokenForm("lac_", 32)
INVITATION = TokenForm("lmi_", 32)
"""Part of a link. Somebody may paste it where a token belongs."""

GRANT_BYTES = 16
SECRET_BYTES = 24
TAG_BYTES = 8

PREFIXES = (ACCESS.prefix, REFRESH.prefix, CODE.prefix, INVITATION.prefix)


def is_of_sign_in(token: str) -> bool:
    """Return whether a text has the prefix of a sign-in token. Such a text is never passed on to a backend."""
    return token.startswith(PREFIXES)
