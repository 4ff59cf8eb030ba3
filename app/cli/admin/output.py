"""The output of administrative commands: tables and sentences for people, or one JSON document for programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NONE = "-"
"""An empty cell of a table."""


@dataclass(frozen=True, slots=True)
class Output:
    """Standard output, for people or for programs."""

    is_json: bool

    def show(self, document: Any, lines: Iterable[str]) -> None:
        """Print `document` as JSON, or `lines` for people."""
        if self.is_json:
            say(json.dumps(document, indent=2))
        else:
            for line in lines:
                say(line)


def say(line: str) -> None:
    """Print a line."""
    print(line)  # noqa: T201 - the output of the command


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, headings first."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return [padded(row, widths) for row in (headings, *rows)]


def padded(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return a row as a line, with its cells padded to the column widths."""
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def time_text(moment: float | None) -> str:
    """Return a Unix time as text, in UTC to the minute; NONE if it is None."""
    return NONE if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def count_text(number: int, noun: str) -> str:
    """Return a count with its noun: `no keys`, `1 key`, `3 keys`. The plural adds an s."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
