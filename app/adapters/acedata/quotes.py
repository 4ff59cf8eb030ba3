"""Sentences of AceDataCloud's, quoted to the caller: harmless, in plain ASCII, and whole or not at all."""

import re
from collections.abc import Sequence

from app.adapters.private_text import repeats, without_links, without_tags
from app.domain.foreign_text import visible_line

LONGEST_QUOTE = 200

_NOT_TEXT = re.compile(r"[^\w\s.,;:!?'()/%+-]|[\x00-\x1f]")
_TYPOGRAPHY = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2026": "...",
    "\u00a0": " ",
})  # fmt: skip
"""Curly quotation marks, dashes, the ellipsis and the no-break space."""

MOST_READ = 1200
"""Characters of a message that are compared, and quoted from."""

MOST_COMPARED = 60_000
"""Characters of an answer's messages, each counted four times, and of the private texts that they are compared with.

Fifty failures by moderation take 32,000. Texts that are made to cost take 20 ms.
"""

_FAR_FROM_THE_CUT = 2 * LONGEST_QUOTE
"""Characters left of a message that was cut, so that no private text begins in the quote and ends behind the cut."""


def quotable(message: str | None, private: tuple[str, ...] = ()) -> str:
    """Return foreign text made harmless: no links, no markup, one line of ASCII, at most 200 characters.

    Return "" where the text repeats one of `private`, in whatever spelling: gaps would show what is missing. Return ""
    as well where it holds anything but ASCII and the usual typographic marks: all documented messages are in English.
    Raises nothing: an error without a quote still says what happened.
    """
    try:
        return _quoted(message or "", private)
    except Exception:  # noqa: BLE001 - whatever texts can do to the comparison, they must not change what they came with
        return ""


class QuoteBudget:
    """The quoting of one answer's messages. Comparing them holds the event loop, so all of it together is bounded."""

    def __init__(self, token: str = "") -> None:
        """Repeat `token` in no quote."""
        self._token = token
        self._left = MOST_COMPARED

    def private(self, message: str, texts: Sequence[str]) -> tuple[str, ...] | None:
        """Return what `message` must not repeat: `texts` and the token; None where that is too much to compare."""
        private = {text for text in (self._token, *texts) if text}
        self._left -= 4 * min(len(message), MOST_READ) + sum(map(len, private))
        return tuple(private) if self._left >= 0 else None


def _quoted(message: str, private: tuple[str, ...]) -> str:
    head = message[:MOST_READ].translate(_TYPOGRAPHY)
    text = _cleaned(head) if head.isascii() else ""
    if len(message) > MOST_READ and len(text) < _FAR_FROM_THE_CUT:
        return ""
    if not text or (private and repeats(head, private)):
        return ""
    return visible_line(text, LONGEST_QUOTE)


def _cleaned(text: str) -> str:
    return " ".join(_NOT_TEXT.sub(" ", without_links(without_tags(text))).split())
