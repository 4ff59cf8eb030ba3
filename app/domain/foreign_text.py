"""Text that a backend, a caller or a store wrote, before a model reads it: one line, bounded, nothing invisible.

Invisible are control and format characters, directional marks, Unicode tags, variation selectors, fillers and blanks: a
person who looks at a result does not see them, and a model reads them. Source: Unicode 15, general categories C and Z,
the property Default_Ignorable_Code_Point, and the charts for characters whose picture is empty.
"""

import re

LONGEST_ID = 128
"""Characters. The ids that are known are UUIDs of 36."""

LONGEST_SHOWN_PROMPT = 300
"""Characters of a prompt that results repeat: enough to recognise a task by. Luma accepts 5,000."""

_ID = re.compile(r"[!-~]+")
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Characters of Default_Ignorable_Code_Point, and of like effect, that `str.isprintable` lets pass."""

_BLANK = re.compile("[\u2800\u303f\ufffc\U00013441-\U00013446\U0001d159\U0001da7f\U0001da80]")
"""Symbols with an empty picture: braille, ideographic, hieroglyphic, musical and sign-writing blanks, and U+FFFC."""


def is_plain_id(value: str) -> bool:
    """Return whether `value` is 1 to 128 visible ASCII characters, the form of every id that is taken or shown."""
    return len(value) <= LONGEST_ID and _ID.fullmatch(value) is not None


def visible_line(text: str, longest: int) -> str:
    """Return `text` on one line without invisible characters, cut to `longest` characters with "…" at the cut.

    At most four times `longest` characters of `text` are looked at.
    """
    start = text[: 4 * longest]
    if not (start.isascii() and start.isprintable()):
        start = _BLANK.sub(" ", _IGNORABLE.sub("", "".join(map(_shown, start))))
    line = " ".join(start.split())
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1].rstrip() + "…"


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else ""
