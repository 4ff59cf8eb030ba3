"""The forms of the tokens of sign-in. Each has a prefix of its own, so that no token is taken for another kind."""

from app.domain.token_form import TokenForm

ACCESS = TokenForm("lat_", 32)
REFRESH = TokenForm("lrt_", 48)
"""The grant's id (16 bytes), a secret (24) and a tag (8) that tells tokens of this service from inventions."""
CODE = TokenForm("lac_", 32)

GRANT_BYTES = 16
SECRET_BYTES = 24
TAG_BYTES = 8

PREFIXES = (ACCESS.prefix, REFRESH.prefix, CODE.prefix)


def is_of_sign_in(token: str) -> bool:
    """Return whether a text begins as a token of sign-in does. It is never passed on to a backend."""
    return token.startswith(PREFIXES)
