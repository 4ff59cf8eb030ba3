"""Rules that import-linter cannot check: only the adapters of a vendor name it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ("domain", "ports", "services", "mcp_server", "web", "observability")
VENDORS = re.compile(r"ace[ _-]?data", re.IGNORECASE)
"""The names of vendors. A new backend adds its own; Luma is what this server is about, whoever makes the videos."""


def named_in(text: str) -> list[int]:
    """Return the lines of `text` that name a vendor."""
    return [number for number, line in enumerate(text.splitlines(), 1) if VENDORS.search(line)]


@pytest.mark.parametrize("folder", CORE)
def test_no_file_of_the_core_names_a_vendor(folder: str) -> None:
    files = [path for path in (ROOT / "app" / folder).rglob("*") if path.suffix in (".py", ".html")]
    assert files
    found = {f"{path.relative_to(ROOT)}:{line}" for path in files for line in named_in(path.read_text("utf-8"))}
    assert found == set(), "describe it in the backend's adapter, and fill it in from its BackendDescription"


@pytest.mark.parametrize("text", ["AceDataCloud", "from app.adapters.acedata import x", "ACE_DATA", "Ace Data Cloud"])
def test_every_spelling_of_a_vendor_is_noticed(text: str) -> None:
    assert named_in(f"\n{text}") == [2]
