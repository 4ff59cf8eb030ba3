"""Sentences of AceDataCloud's, quoted to the caller: harmless, in plain ASCII, and whole or not at all."""

import re

from app.adapters.private_text import repeats, without_links, without_tags
from app.domain.foreign_text import visible_line

LONGEST_QUOTE = 200

_NOT_TEXT = re.compile(r"[^\w\s.,;:!?'()/%+-]|[\x00-\x1f]")
_TYPOGRAPHY = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2026": "...",
    "\u00a0": " ",
})  # fmt: skip
"""Curly quotation marks, dashes, the ellipsis and the no-break space."""

_MOST_READ = 1000
"""Characters of a message that are quoted from; twice as many are compared, for a private text may end after them."""


def quotable(message: str | None, private: tuple[str, ...] = ()) -> str:
    """Return foreign text made harmless: no links, no markup, one line of ASCII, at most 200 characters.

    Return "" where the text repeats one of `private`, in whatever spelling: gaps would show what is missing. Return ""
    as well where it holds anything but ASCII and the usual typographic marks: all documented messages are in English.
    """
    head = (message or "")[: 2 * _MOST_READ].translate(_TYPOGRAPHY)
    text = _cleaned(head[:_MOST_READ])
    if not text or not head.isascii() or (private and repeats(head, private)):
        return ""
    return visible_line(text, LONGEST_QUOTE)


def _cleaned(text: str) -> str:
    return " ".join(_NOT_TEXT.sub(" ", without_links(without_tags(text))).split())
