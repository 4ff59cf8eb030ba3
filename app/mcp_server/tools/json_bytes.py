"""JSON as bytes: what an answer holds is encoded once, where it is made, and not taken apart again on its way."""

from json import JSONEncoder
from typing import NewType

Json = NewType("Json", bytes)
"""One JSON value, on one line."""

_ENCODER = JSONEncoder(separators=(",", ":"), allow_nan=False)


def to_json(value: object) -> Json:
    """Return `value` as JSON. Raises ValueError for a number that JSON cannot hold."""
    return Json(_ENCODER.encode(value).encode())


def json_line(line: str) -> bytes:
    """Return `line` as it stands inside a JSON string."""
    return to_json(line)[1:-1]


def json_lines(lines: list[bytes]) -> Json:
    """Return lines that are as `json_line` makes them as one string."""
    return Json(b'"' + b"\\n".join(lines) + b'"')
