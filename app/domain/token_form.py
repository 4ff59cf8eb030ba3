"""How this service writes tokens: a prefix, random bytes in base62, and a checksum that detects typing errors."""

import hashlib
import re
import string
from dataclasses import dataclass, field

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM = 6
"""Characters of base62 that hold 32 bits."""
_HINT = 4


@dataclass(frozen=True, slots=True)
class TokenForm:
    """The form of one kind of token.

    Attributes:
        prefix: what each token begins with, such as `lmk_`.
        size: number of bytes in a token.

    """

    prefix: str
    size: int
    _length: int = field(init=False, repr=False)
    _form: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        length = next(count for count in range(2 * self.size) if 62**count >= 256**self.size)
        object.__setattr__(self, "_length", length)
        object.__setattr__(self, "_form", re.compile(rf"{self.prefix}[0-9A-Za-z]{{{length + _CHECKSUM}}}"))

    def written(self, content: bytes) -> str:
        """Return the token that stands for `content`."""
        if len(content) != self.size:
            raise ValueError(f"a token with the prefix {self.prefix} is made of {self.size} bytes")
        body = _base62(int.from_bytes(content), self._length)
        return f"{self.prefix}{body}{_checksum(body)}"

    def is_well_formed(self, text: str) -> bool:
        """Return whether `text` has this form, with the right checksum. Only the database tells if it is a token."""
        if self._form.fullmatch(text) is None:
            return False
        body = text[len(self.prefix) : -_CHECKSUM]
        return text[-_CHECKSUM:] == _checksum(body)

    def content(self, text: str) -> bytes | None:
        """Return the bytes that a token stands for; None if it is not well-formed."""
        if not self.is_well_formed(text):
            return None
        number = 0
        for sign in text[len(self.prefix) : -_CHECKSUM]:
            number = number * len(_ALPHABET) + _VALUES[sign]
        return number.to_bytes(self.size) if number < 256**self.size else None

    def hint(self, token: str) -> str:
        """Return the part of a token that lists show."""
        return f"{self.prefix}…{token[-_HINT:]}"


_VALUES = {sign: value for value, sign in enumerate(_ALPHABET)}


def _checksum(body: str) -> str:
    return _base62(int.from_bytes(hashlib.sha256(body.encode()).digest()[:4]), _CHECKSUM)


def _base62(number: int, length: int) -> str:
    signs = []
    for _ in range(length):
        number, sign = divmod(number, len(_ALPHABET))
        signs.append(_ALPHABET[sign])
    return "".join(reversed(signs))
