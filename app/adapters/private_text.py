"""Whether a message repeats text of the caller's, in whatever spelling; the work is bounded for texts made to cost.

Texts are compared by their ASCII letters and digits alone. A message with anything else in it, written out or escaped,
counts as a repetition, because a look-alike of another script or a combining accent could stand for any letter.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

SHORTEST_PRIVATE = 4
"""Characters; anything shorter occurs in any sentence by chance."""

PASSAGE = 24
"""Letters and digits in a row that are a private text's own, even where the rest of it is missing."""

TOKEN_PASSAGE = 8
"""The same for a text that is one word and no URL: a token or an id."""

MOST_PRIVATE = 12_000
"""Characters of all private texts of a call, and of their spellings: the longest prompt and token, and usual URLs."""

MOST_ESCAPES = 300
"""Ampersands, percent signs and backslashes in the private texts of a call; each may cost a microsecond a layer."""

MOST_MESSAGE = 8_000
"""Characters of all spellings of one message."""

MOST_FOLDED = 1_500
"""Different characters beyond ASCII in one private text; each is folded by itself, once."""

MOST_LAYERS = 3
"""Layers of escapes that are undone."""

_BLOCK = 13
_STRIDE = PASSAGE - _BLOCK + 1
"""Any 24 letters in a row hold a block of 13 that begins at a multiple of 12."""

_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_WORD = re.compile(r"\S+")
_LINK = re.compile(r"://|www\.|\b(?:data|javascript|mailto):", re.IGNORECASE)
_SPACE_OR_SCHEME = re.compile(r"\s|://")
_ESCAPING = re.compile(r"[&%\\]")
_ESCAPE = re.compile(r"(?:\\+|%)u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})|\\+(.)")
_NO_LETTERS = bytes(code for code in range(256) if not chr(code).isascii() or not chr(code).isalnum())


class _Incomparable(Exception):
    """A text that would take too much work, or may hide anything."""


def repeats(message: str, private: Iterable[str]) -> bool:
    """Return whether `message`, outside of links, repeats one of `private` or a passage of it, or may do so.

    `html.unescape` raises ValueError for a character's number of more than 4,300 digits.
    """
    try:
        return _repeats(message, [text for text in private if text])
    except (_Incomparable, ValueError):
        return True


def without_tags(text: str) -> str:
    """Return `text` with a space in the place of each HTML tag."""
    return _TAG.sub(" ", text)


def without_links(text: str) -> str:
    """Drop each word that holds a link; word by word, because one expression would take the square of the length."""
    if _LINK.search(text) is None:
        return text
    return _WORD.sub(lambda word: "" if _LINK.search(word[0]) else word[0], text)


def _repeats(message: str, private: list[str]) -> bool:
    if sum(map(len, private)) > MOST_PRIVATE or sum(len(_ESCAPING.findall(text)) for text in private) > MOST_ESCAPES:
        raise _Incomparable
    spoken = _Message(message)
    secrets = {text: _private_lines(text) for text in private}
    if sum(len(line) for lines in secrets.values() for line in lines) > MOST_PRIVATE:
        raise _Incomparable
    return any(
        spoken.repeats(line, is_token=_SPACE_OR_SCHEME.search(text) is None)
        for text, lines in secrets.items()
        for line in lines
    )


class _Message:
    """The spellings of a message, and the parts of them that private texts are looked up in."""

    def __init__(self, message: str) -> None:
        bare = without_links(message)
        lines = {*_spellings(bare), *_spellings(without_links(without_tags(message)))}
        if not all(map(str.isascii, lines)) or sum(map(len, lines)) > MOST_MESSAGE:
            raise _Incomparable
        self._lines = lines
        self._letters = {_letters(line) for line in lines}
        self._blocks = set(self._parts(_BLOCK))
        self._token_passages = set(self._parts(TOKEN_PASSAGE))

    def repeats(self, secret: str, *, is_token: bool) -> bool:
        """Return whether the message repeats a private line of ASCII, or a passage of it."""
        letters = _letters(secret)
        if len(letters) >= SHORTEST_PRIVATE:
            repeated = any(letters in text for text in self._letters)
        else:
            repeated = len(secret) >= SHORTEST_PRIVATE and any(secret in line for line in self._lines)
        return (
            repeated
            or any(part in self._blocks for part in _cut(letters, _BLOCK, _STRIDE))
            or (is_token and any(part in self._token_passages for part in _cut(letters, TOKEN_PASSAGE, 1)))
        )

    def _parts(self, length: int) -> Iterator[bytes]:
        return (part for text in self._letters for part in _cut(text, length, 1))


def _cut(text: bytes, length: int, stride: int) -> Iterator[bytes]:
    return (text[start : start + length] for start in range(0, len(text) - length + 1, stride))


def _private_lines(text: str) -> set[str]:
    """Return what a message in ASCII may make of a private text: without escapes, tags, accents or accented letters."""
    spellings = {*_spellings(text), *_spellings(without_links(without_tags(text)))}
    return {line for spelling in spellings for line in (_folded(spelling), _ascii(spelling))}


def _spellings(text: str) -> Iterator[str]:
    """Yield the text in lower case on one line, as it is and with each layer of escapes undone."""
    for _ in range(MOST_LAYERS + 1):
        yield " ".join(text.casefold().split())
        plain = _ESCAPE.sub(_unescaped, unquote_plus(html.unescape(text)))
        if plain == text:
            return
        text = plain
    raise _Incomparable


def _unescaped(escape: re.Match[str]) -> str:
    number = escape[1] or escape[2]
    return chr(int(number, 16)) if number else " " if escape[3] in "nrtbf" else escape[3]


def _folded(text: str) -> str:
    """Return the ASCII letters that the text is made of: those under accents, in ligatures, of full width.

    Each character is folded by itself: a run of combining marks would be sorted, in the square of its length.
    """
    if text.isascii():
        return text
    others = {character for character in text if not character.isascii()}
    if len(others) > MOST_FOLDED:
        raise _Incomparable
    return _ascii(text.translate({ord(one): unicodedata.normalize("NFKD", one) for one in others})).lower()


def _ascii(text: str) -> str:
    return text if text.isascii() else text.encode("ascii", "ignore").decode()


def _letters(line: str) -> bytes:
    return line.encode().translate(None, _NO_LETTERS)
