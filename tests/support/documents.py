"""Generated parts of documents, and the paths for the results of fault, fuzz, soak and benchmark runs."""

from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs"
OUT = Path(__file__).parents[2] / "out"
"""A folder for results that are not committed."""


def update(document: Path, parts: Mapping[str, str]) -> None:
    """Replace the text between `<!-- NAME -->` and `<!-- end -->` by each part of that name.

    Raises SystemExit if the document has no such marker.
    """
    text = document.read_text()
    for name, part in parts.items():
        before, mark, after = text.partition(f"<!-- {name} -->\n")
        if not mark:
            raise SystemExit(f"{document.name} has no marker <!-- {name} -->.")
        text = f"{before}{mark}{part}\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    document.write_text(text)
