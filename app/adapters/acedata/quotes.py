"""Cleans error messages of AceDataCloud before they are quoted to the caller: ASCII, without links or markup.

A message that repeats private text of the caller is not quoted.
"""

import re
from collections.abc import Sequence

from app.adapters.private_text import repeats, without_links, without_tags
from app.domain.untrusted_text import visible_line

MAX_QUOTE_LENGTH = 200
"""Maximum length, in characters, of a quote."""

_NOT_TEXT = re.compile(r"[^\w\s.,;:!?'()/%+-]|[\x00-\x1f]")
_TYPOGRAPHY = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2026": "...",
    "\u00a0": " ",
})  # fmt: skip
"""ASCII for curly quotation marks, dashes, the ellipsis and the no-break space."""

MAX_MESSAGE_CHARACTERS = 1200
"""Characters at the start of a message that are compared with private texts and quoted. The rest is ignored."""

MAX_COMPARED_CHARACTERS = 60_000
"""Limit of the characters that are compared for one response. The characters of its error messages count four times.

Fifty failures by moderation need 32,000. At the limit, the most expensive texts take 20 ms.
"""

_MIN_CUT_MESSAGE_LENGTH = 2 * MAX_QUOTE_LENGTH
"""Fewest characters that a cut message must have after cleaning; a shorter one is not quoted.

Otherwise a private text could begin in the quote and end behind the cut, where it is not compared.
"""


def quotable(message: str | None, private: tuple[str, ...] = ()) -> str:
    """Return `message` without links and markup, as one line of at most 200 characters.

    The line is ASCII, but for the ellipsis at the end of a message that was cut. Return "" if the message repeats one
    of the `private` texts in any spelling, because the words around it would show what was removed. Return "" as well
    if it has characters other than ASCII and usual typographic ones: all documented messages are in English. Raises
    nothing, because an error is useful without a quote.
    """
    try:
        return _quoted(message or "", private)
    except Exception:  # noqa: BLE001 - a failure to compare must not replace the error that is being reported
        return ""


class ComparisonBudget:
    """A limit for comparing the messages of one response with private texts. The comparison blocks the event loop."""

    def __init__(self, token: str = "") -> None:
        """Treat `token` as private in all messages."""
        self._token = token
        self._remaining_characters = MAX_COMPARED_CHARACTERS

    def private_texts(self, message: str, texts: Sequence[str]) -> tuple[str, ...] | None:
        """Return the texts that `message` must not repeat: `texts` and the token. None if the limit is exceeded."""
        private = {text for text in (self._token, *texts) if text}
        self._remaining_characters -= 4 * min(len(message), MAX_MESSAGE_CHARACTERS) + sum(map(len, private))
        return tuple(private) if self._remaining_characters >= 0 else None


def _quoted(message: str, private: tuple[str, ...]) -> str:
    head = message[:MAX_MESSAGE_CHARACTERS].translate(_TYPOGRAPHY)
    text = _cleaned(head) if head.isascii() else ""
    if len(message) > MAX_MESSAGE_CHARACTERS and len(text) < _MIN_CUT_MESSAGE_LENGTH:
        return ""
    if not text or (private and repeats(head, private)):
        return ""
    return visible_line(text, MAX_QUOTE_LENGTH)


def _cleaned(text: str) -> str:
    return " ".join(_NOT_TEXT.sub(" ", without_links(without_tags(text))).split())
