"""Sentences of AceDataCloud's, quoted to the caller: harmless, and whole or not at all."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

from app.domain.foreign_text import visible_line

LONGEST_QUOTE = 200
SHORTEST_PRIVATE = 4
"""Characters; anything shorter occurs in any sentence by chance."""

PASSAGE = 24
"""Letters and digits in a row that are a private text's own, even where the rest of it is missing."""

TOKEN_PASSAGE = 8
"""The same for a text without a space or slash, which is a token or an id."""

_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_WORD = re.compile(r"\S+")
_LINK = re.compile(r"://|www\.|\b(?:data|javascript|mailto):", re.IGNORECASE)
_NOT_TEXT = re.compile(r"[^\w\s.,;:!?'()/%+-]|[\x00-\x1f]")
_JSON_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|(.))")
_MOST_READ = 1000
"""Characters of a message that are quoted from; twice as many are compared, for a private text may end after them."""


def quotable(message: str | None, private: tuple[str, ...] = ()) -> str:
    """Return foreign text made harmless: no links, no markup, one line, at most 200 characters.

    Return "" where the text repeats one of `private`, in whatever spelling: gaps would show what is missing.
    """
    text = _cleaned(message or "")
    if not text or (private and _repeats(message or "", private)):
        return ""
    return visible_line(text, LONGEST_QUOTE)


def _cleaned(text: str) -> str:
    text = _without_links(_TAG.sub(" ", text[:_MOST_READ]))
    return " ".join(_NOT_TEXT.sub(" ", text).split())


def _without_links(text: str) -> str:
    """Drop each word that holds a link; word by word, because one expression would take the square of the length."""
    return _WORD.sub(lambda word: "" if _LINK.search(word[0]) else word[0], text)


def _repeats(message: str, private: tuple[str, ...]) -> bool:
    """Whether the message repeats one of `private`, or a passage of it, outside of links, which are never quoted."""
    head = message[: 2 * _MOST_READ]
    texts = {form for text in (head, _TAG.sub(" ", head)) for form in _spellings(_without_links(text))}
    secrets = _all_spellings(private)
    tokens = _all_spellings(text for text in private if not re.search(r"[\s/]", text))
    if any(secret in text for secret in secrets if len(secret) >= SHORTEST_PRIVATE for text in texts):
        return True
    for length, of_that_length in ((PASSAGE, secrets), (TOKEN_PASSAGE, tokens)):
        passages = {passage for secret in of_that_length for passage in _passages(secret, length)}
        if any(passage in passages for text in texts for passage in _passages(text, length)):
            return True
    return False


def _all_spellings(private: Iterable[str]) -> set[str]:
    return {form for secret in private for text in (secret, _cleaned(secret)) for form in _spellings(text)}


def _passages(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))


def _spellings(text: str) -> Iterator[str]:
    """Yield the text in the forms that are compared: as it is and unescaped, with and without punctuation."""
    for _ in range(3):
        folded = unicodedata.normalize("NFKC", text).casefold()
        line = visible_line(folded, len(folded))
        yield line
        yield "".join(filter(str.isalnum, line))
        text = _JSON_ESCAPE.sub(_unescaped, unquote_plus(html.unescape(text)))


def _unescaped(escape: re.Match[str]) -> str:
    number, character = escape.groups()
    return chr(int(number, 16)) if number else " " if character in "nrtbf" else character
