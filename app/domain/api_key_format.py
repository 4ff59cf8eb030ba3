"""How a key is written: `lmk_`, 32 random bytes in base62, and a checksum that tells typing errors and inventions."""

import hashlib
import re
import string

PREFIX = "lmk_"
RANDOM_BYTES = 32

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY = 43
"""Characters of base62 that hold 32 bytes."""
_CHECKSUM = 6
"""Characters of base62 that hold 32 bits."""
_HINT = 4
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_BODY + _CHECKSUM}}}")


def written(random: bytes) -> str:
    """Return the key that stands for 32 random bytes."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a key is made of {RANDOM_BYTES} bytes")
    body = _base62(int.from_bytes(random), _BODY)
    return f"{PREFIX}{body}{_checksum(body)}"


def is_well_formed(text: str) -> bool:
    """Return whether `text` is written as a key is, with the right checksum. Only the database tells if it is one."""
    if _FORM.fullmatch(text) is None:
        return False
    body = text[len(PREFIX) : -_CHECKSUM]
    return text[-_CHECKSUM:] == _checksum(body)


def hint(key: str) -> str:
    """Return the part of a key that lists show."""
    return f"{PREFIX}…{key[-_HINT:]}"


def _checksum(body: str) -> str:
    return _base62(int.from_bytes(hashlib.sha256(body.encode()).digest()[:4]), _CHECKSUM)


def _base62(number: int, length: int) -> str:
    signs = []
    for _ in range(length):
        number, sign = divmod(number, len(_ALPHABET))
        signs.append(_ALPHABET[sign])
    return "".join(reversed(signs))
