"""Sentences of AceDataCloud's, quoted to the caller: harmless, and whole or not at all."""

import html
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_plus

LONGEST_QUOTE = 200
SHORTEST_PRIVATE = 4
"""Characters; anything shorter occurs in any sentence by chance."""

PASSAGE = 24
"""Letters and digits in a row that are a private text's own, even where the rest of it is missing."""

_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
_WORD = re.compile(r"\S+")
_LINK = re.compile(r"://|www\.|\b(?:data|javascript|mailto):", re.IGNORECASE)
_NOT_TEXT = re.compile(r"[^\w\s.,;:!?'()/%+-]|[\x00-\x1f]")
_JSON_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|(.))")
_MOST_READ = 1000
"""Characters of a message that are quoted from."""


def quotable(message: str | None, private: tuple[str, ...] = ()) -> str:
    """Return foreign text made harmless: no links, no markup, one line, at most 200 characters.

    Return "" where the text repeats one of `private`, in whatever spelling: gaps would show what is missing.
    """
    text = _cleaned(message or "")
    if not text or (private and _repeats(message or "", private)):
        return ""
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 1] + "…"


def _cleaned(text: str) -> str:
    text = _without_links(_TAG.sub(" ", text[:_MOST_READ]))
    return " ".join(_NOT_TEXT.sub(" ", text).split())


def _without_links(text: str) -> str:
    """Drop each word that holds a link; word by word, because one expression would take the square of the length."""
    return _WORD.sub(lambda word: "" if _LINK.search(word[0]) else word[0], text)


def _repeats(message: str, private: tuple[str, ...]) -> bool:
    """Whether the message repeats one of `private`, or a passage of it, outside of links, which are never quoted."""
    head = message[: 2 * _MOST_READ]  # a private text may begin before the last character that is quoted, and end after
    texts = {form for text in (head, _TAG.sub(" ", head)) for form in _spellings(_without_links(text))}
    secrets = {form for secret in private for text in (secret, _cleaned(secret)) for form in _spellings(text)}
    if any(secret in text for secret in secrets if len(secret) >= SHORTEST_PRIVATE for text in texts):
        return True
    passages = {passage for secret in secrets for passage in _passages(secret)}
    return any(passage in passages for text in texts for passage in _passages(text))


def _passages(text: str) -> Iterator[str]:
    return (text[start : start + PASSAGE] for start in range(len(text) - PASSAGE + 1))


def _spellings(text: str) -> Iterator[str]:
    """Yield the text in the forms that are compared: as it is and unescaped, with and without punctuation."""
    for _ in range(3):
        folded = unicodedata.normalize("NFKC", text).casefold()
        yield " ".join(folded.split())
        yield "".join(filter(str.isalnum, folded))
        text = _JSON_ESCAPE.sub(_unescaped, unquote_plus(html.unescape(text)))


def _unescaped(escape: re.Match[str]) -> str:
    number, character = escape.groups()
    return chr(int(number, 16)) if number else " " if character in "nrtbf" else character
