"""JSON as text: what an answer holds is encoded once, where it is made, and not taken apart again on its way."""

from json import JSONEncoder
from typing import NewType

JsonText = NewType("JsonText", str)
"""One JSON value in ASCII."""

_ENCODER = JSONEncoder(separators=(",", ":"), allow_nan=False)


def json_text(value: object) -> JsonText:
    """Return `value` as JSON. Raises ValueError for a number that JSON cannot hold."""
    return JsonText(_ENCODER.encode(value))


def json_lines(lines: list[JsonText]) -> JsonText:
    """Return strings, each a JSON text, as one string of lines."""
    return JsonText('"' + "\\n".join([line[1:-1] for line in lines]) + '"')
