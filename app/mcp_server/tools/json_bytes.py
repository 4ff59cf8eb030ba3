"""JSON values as bytes, which are encoded once and joined to results."""

from json import JSONEncoder
from typing import NewType

Json = NewType("Json", bytes)
"""One JSON value, on one line."""

_ENCODER = JSONEncoder(separators=(",", ":"), allow_nan=False)


def to_json(value: object) -> Json:
    """Return `value` as JSON. Raises ValueError for NaN and infinity."""
    return Json(_ENCODER.encode(value).encode())


def json_line(line: str) -> bytes:
    """Return `line` escaped for a JSON string, without quotation marks."""
    return to_json(line)[1:-1]


def json_lines(lines: list[bytes]) -> Json:
    """Join lines made by `json_line` into one JSON string."""
    return Json(b'"' + b"\\n".join(lines) + b'"')
