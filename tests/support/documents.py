"""Where the figures of a run go: documents, and a folder that is no part of the project."""

from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs"
OUT = Path(__file__).parents[2] / "out"


def update(document: Path, parts: Mapping[str, str]) -> None:
    """Put each part between its marks in the document."""
    text = document.read_text()
    for name, part in parts.items():
        before, mark, after = text.partition(f"<!-- {name} -->\n")
        if not mark:
            raise SystemExit(f"{document.name} has no place for {name}.")
        text = f"{before}{mark}{part}\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    document.write_text(text)
