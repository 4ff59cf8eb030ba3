"""Sanitizes untrusted text from a backend, a caller or a store before a model reads it.

The result is one bounded line without invisible characters: control and format characters, directional marks, Unicode
tags, variation selectors, fillers and blanks. A person does not see them in a result, but a model reads them. Sources:
Unicode 15, general categories C and Z, the property Default_Ignorable_Code_Point, and the charts for characters with an
empty glyph.
"""

import re

MAX_ID_LENGTH = 128
"""Longest accepted id, in characters. The backend's ids are UUIDs of 36 characters."""

MAX_SHOWN_PROMPT_LENGTH = 300
"""Characters of a prompt in results: enough to recognise a task. Luma accepts 5,000."""

_ID = re.compile(r"[!-~]+")
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters of Default_Ignorable_Code_Point, and similar ones, for which `str.isprintable` is true."""

_BLANK = re.compile("[\u2800\u303f\ufffc\U00013441-\U00013446\U0001d159\U0001da7f\U0001da80]")
"""Symbols with an empty glyph: braille, ideographic, hieroglyphic, musical and sign-writing blanks, and U+FFFC."""


def is_plain_id(value: str) -> bool:
    """Return whether `value` is 1 to 128 visible ASCII characters. The service accepts and shows no other ids."""
    return len(value) <= MAX_ID_LENGTH and _ID.fullmatch(value) is not None


def visible_line(text: str, longest: int) -> str:
    """Return `text` on one line without invisible characters, truncated to `longest` characters with "…" at the end.

    Only the first 4 * `longest` characters of `text` are processed.
    """
    line = without_invisible(text[: 4 * longest])
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1].rstrip() + "…"


def without_invisible(text: str) -> str:
    """Return `text` on one line, without invisible characters and without repeated or outer blanks."""
    if not text.isprintable():
        text = "".join(map(_printable_or_space, text))
    if not text.isascii():
        text = _BLANK.sub(" ", _IGNORABLE.sub("", text))
    return " ".join(text.split())


def has_invisible(text: str) -> bool:
    """Return whether `text` contains an invisible character, such as a line break. A space is visible."""
    return not text.isprintable() or _IGNORABLE.search(text) is not None or _BLANK.search(text) is not None


def _printable_or_space(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else ""
