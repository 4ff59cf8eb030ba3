"""The format of this service's tokens: a prefix, random bytes in base62, and a checksum that detects typing errors."""

import hashlib
import re
import string
from dataclasses import dataclass, field

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHECKSUM_LENGTH = 6
"""Base62 characters for 32 bits."""
_HINT_LENGTH = 4


@dataclass(frozen=True, slots=True)
class TokenForm:
    """The format of one kind of token.

    Attributes:
        prefix: start of each token, such as `lmk_`.
        size: number of bytes that a token encodes.

    """

    prefix: str
    size: int
    _length: int = field(init=False, repr=False)
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        length = next(count for count in range(2 * self.size) if 62**count >= 256**self.size)
        object.__setattr__(self, "_length", length)
        object.__setattr__(self, "_pattern", re.compile(rf"{self.prefix}[0-9A-Za-z]{{{length + _CHECKSUM_LENGTH}}}"))

    def encode(self, content: bytes) -> str:
        """Return the token that encodes `content`. Raises ValueError for another number of bytes than `size`."""
        if len(content) != self.size:
            raise ValueError(f"a token with the prefix {self.prefix} is made of {self.size} bytes")
        body = _base62(int.from_bytes(content), self._length)
        return f"{self.prefix}{body}{_checksum(body)}"

    def is_well_formed(self, text: str) -> bool:
        """Return whether `text` has this format and the right checksum. Whether the token exists is not checked."""
        if self._pattern.fullmatch(text) is None:
            return False
        body = text[len(self.prefix) : -_CHECKSUM_LENGTH]
        return text[-_CHECKSUM_LENGTH:] == _checksum(body)

    def decode(self, text: str) -> bytes | None:
        """Return the bytes that a token encodes; None if it is not well-formed."""
        if not self.is_well_formed(text):
            return None
        number = 0
        for digit in text[len(self.prefix) : -_CHECKSUM_LENGTH]:
            number = number * len(_ALPHABET) + _DIGIT_VALUES[digit]
        return number.to_bytes(self.size) if number < 256**self.size else None

    def hint(self, token: str) -> str:
        """Return the abbreviation of a token that lists show: the prefix and the last four characters."""
        return f"{self.prefix}…{token[-_HINT_LENGTH:]}"


_DIGIT_VALUES = {digit: value for value, digit in enumerate(_ALPHABET)}


def _checksum(body: str) -> str:
    return _base62(int.from_bytes(hashlib.sha256(body.encode()).digest()[:4]), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, value = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[value])
    return "".join(reversed(digits))
