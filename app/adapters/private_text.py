"""Detects private texts of a caller, such as a prompt or token, in a backend's error message. The work is bounded.

Texts are compared by their ASCII letters and digits; other ASCII characters are skipped. A message with a non-ASCII
character, literal or escaped, is treated as a repetition: a look-alike from another script, or a combining accent,
could stand for any letter.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

MIN_PRIVATE_CHARACTERS = 4
"""Fewest characters of a private text. Shorter ones are ignored, because they occur in any sentence by chance."""

PASSAGE_LENGTH = 24
"""Number of consecutive letters and digits of a private text that are a repetition, even without its other characters.

A run of this length in both the text and the message is always detected. A run of 13 to 23 may be detected.
"""

TOKEN_PASSAGE_LENGTH = 8
"""The PASSAGE_LENGTH for a private text that has no spaces and is not a URL, such as a token or an id."""

MAX_PRIVATE_CHARACTERS = 12_000
"""Limit for all private texts of a call, and for all their spellings: enough for a prompt, a token and usual URLs."""

MAX_ESCAPES = 300
"""Maximum number of ampersands, percent signs and backslashes in the private texts of a call.

Each may cost 1 µs for each layer of escapes.
"""

MAX_MESSAGE_CHARACTERS = 8_000
"""Limit for all spellings of one message."""

MAX_FOLDED_CHARACTERS = 1_500
"""Maximum number of different non-ASCII characters in one private text. Each of them is normalised once."""

MAX_ESCAPE_LAYERS = 3
"""Layers of escapes that are undone. A text with more layers is treated as a repetition."""

_BLOCK_LENGTH = 13
_BLOCK_STRIDE = PASSAGE_LENGTH - _BLOCK_LENGTH + 1
"""Any 24 characters in a row contain a block of 13 that begins at a multiple of 12."""

_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_WORD = re.compile(r"\S+")
_LINK = re.compile(r"://|www\.|\b(?:data|javascript|mailto):", re.IGNORECASE)
_SPACE_OR_SCHEME = re.compile(r"\s|://")
"""Found in sentences and URLs, and not in tokens and ids."""

_ESCAPING = re.compile(r"[&%\\]")
"""A character with which an escape begins."""

_ESCAPE = re.compile(r"(?:\\+|%)u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})|\\+(.)")
_NOT_ALPHANUMERIC = bytes(code for code in range(256) if not chr(code).isascii() or not chr(code).isalnum())


class _NotComparable(Exception):
    """A text cannot be compared within the limits, or not reliably."""


def repeats(message: str, private: Iterable[str]) -> bool:
    """Return whether `message`, outside of links, repeats one of the `private` texts or a passage of it.

    Return True as well if the texts cannot be compared within the limits.
    """
    try:
        return _repeats(message, [text for text in private if text])
    except (_NotComparable, ValueError):  # html.unescape: ValueError for a character reference of over 4,300 digits
        return True


def without_tags(text: str) -> str:
    """Return `text` with a space in place of each HTML tag."""
    return _TAG.sub(" ", text)


def without_links(text: str) -> str:
    """Return `text` without the words that contain a link.

    Each word is matched by itself: a single expression would take time quadratic in the length.
    """
    if _LINK.search(text) is None:
        return text
    return _WORD.sub(lambda word: "" if _LINK.search(word[0]) else word[0], text)


def _repeats(message: str, private: list[str]) -> bool:
    escapes = sum(len(_ESCAPING.findall(text)) for text in private)
    if sum(map(len, private)) > MAX_PRIVATE_CHARACTERS or escapes > MAX_ESCAPES:
        raise _NotComparable
    comparable = _Message(message)
    private_spellings = {text: _ascii_spellings(text) for text in private}
    characters = sum(len(spelling) for spellings in private_spellings.values() for spelling in spellings)
    if characters > MAX_PRIVATE_CHARACTERS:
        raise _NotComparable
    return any(
        comparable.repeats(spelling, is_token=_SPACE_OR_SCHEME.search(text) is None)
        for text, spellings in private_spellings.items()
        for spelling in spellings
    )


class _Message:
    """The spellings of a message, with an index of their substrings."""

    def __init__(self, message: str) -> None:
        spellings = {*_spellings(without_links(message)), *_spellings(without_links(without_tags(message)))}
        if not all(map(str.isascii, spellings)) or sum(map(len, spellings)) > MAX_MESSAGE_CHARACTERS:
            raise _NotComparable
        self._spellings = spellings
        self._alphanumerics = {_alphanumeric(spelling) for spelling in spellings}
        self._blocks = set(self._all_substrings(_BLOCK_LENGTH))
        self._token_passages = set(self._all_substrings(TOKEN_PASSAGE_LENGTH))

    def repeats(self, spelling: str, *, is_token: bool) -> bool:
        """Return whether the message repeats this ASCII spelling of a private text, or a passage of it."""
        alphanumeric = _alphanumeric(spelling)
        if len(alphanumeric) >= MIN_PRIVATE_CHARACTERS:
            is_repeated = any(alphanumeric in text for text in self._alphanumerics)
        else:
            is_repeated = len(spelling) >= MIN_PRIVATE_CHARACTERS and any(spelling in text for text in self._spellings)
        if is_repeated or any(
            block in self._blocks for block in _substrings(alphanumeric, _BLOCK_LENGTH, _BLOCK_STRIDE)
        ):
            return True
        passages = _substrings(alphanumeric, TOKEN_PASSAGE_LENGTH, 1) if is_token else ()
        return any(passage in self._token_passages for passage in passages)

    def _all_substrings(self, length: int) -> Iterator[bytes]:
        return (part for text in self._alphanumerics for part in _substrings(text, length, 1))


def _substrings(text: bytes, length: int, stride: int) -> Iterator[bytes]:
    return (text[start : start + length] for start in range(0, len(text) - length + 1, stride))


def _ascii_spellings(text: str) -> set[str]:
    """Return the ASCII forms in which a text may be repeated.

    Escapes are undone and tags removed. Accented letters are replaced by their base letters, or left out.
    """
    spellings = {*_spellings(text), *_spellings(without_links(without_tags(text)))}
    return {ascii_text for spelling in spellings for ascii_text in (_folded(spelling), _ascii(spelling))}


def _spellings(text: str) -> Iterator[str]:
    """Yield `text` as it is and with each layer of escapes undone, casefolded and with single spaces."""
    for _ in range(MAX_ESCAPE_LAYERS + 1):
        yield " ".join(text.casefold().split())
        plain = _ESCAPE.sub(_unescaped, unquote_plus(html.unescape(text)))
        if plain == text:
            return
        text = plain
    raise _NotComparable


def _unescaped(escape: re.Match[str]) -> str:
    hex_digits = escape[1] or escape[2]
    return chr(int(hex_digits, 16)) if hex_digits else " " if escape[3] in "nrtbf" else escape[3]


def _folded(text: str) -> str:
    """Return `text` in ASCII, with the base letters of accented, ligature and full-width characters (NFKD).

    Each character is normalised by itself: a run of combining marks would be sorted, in time quadratic in its length.
    """
    if text.isascii():
        return text
    non_ascii = {char for char in text if not char.isascii()}
    if len(non_ascii) > MAX_FOLDED_CHARACTERS:
        raise _NotComparable
    return _ascii(text.translate({ord(char): unicodedata.normalize("NFKD", char) for char in non_ascii})).lower()


def _ascii(text: str) -> str:
    """Return `text` without its non-ASCII characters."""
    return text if text.isascii() else text.encode("ascii", "ignore").decode()


def _alphanumeric(spelling: str) -> bytes:
    """Return the ASCII letters and digits of `spelling`."""
    return spelling.encode().translate(None, _NOT_ALPHANUMERIC)
