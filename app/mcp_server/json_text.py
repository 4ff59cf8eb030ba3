"""JSON as text: what an answer holds is encoded once, where it is made, and not taken apart again on its way."""

from json import JSONEncoder
from typing import NewType

JsonText = NewType("JsonText", str)
"""One JSON value."""

_ENCODER = JSONEncoder(separators=(",", ":"), allow_nan=False)


def json_text(value: object) -> JsonText:
    """Return `value` as JSON. Raises ValueError for a number that JSON cannot hold."""
    return JsonText(_ENCODER.encode(value))


def json_line(line: str) -> str:
    """Return `line` as it stands inside a JSON string."""
    return _ENCODER.encode(line)[1:-1]


def json_lines(lines: list[str]) -> JsonText:
    """Return lines that are as `json_line` makes them as one string."""
    return JsonText('"' + "\\n".join(lines) + '"')
