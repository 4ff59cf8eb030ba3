"""The set-ups of docs/clients.md, which the programs run as they stand there."""

import re
from pathlib import Path

from tests.clients.world import World

DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
URL, TOKEN = "https://luma.example.com/mcp", "YOUR_ACEDATACLOUD_TOKEN"


def documented(heading: str, language: str, world: World) -> str:
    """Return the block of code under a heading, for the service and the token of `world`. Raises LookupError."""
    return set_up(heading, language).replace(URL, world.mcp_url).replace(TOKEN, world.token)


def set_up(heading: str, language: str) -> str:
    """Return the first block in `language` under a heading, as it is written. Raises LookupError if there is none."""
    _, found, after = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    block = re.search(rf"^```{language}\n(.*?)^```$", after.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    if not found or block is None:
        raise LookupError(f"{DOCUMENT.name} has no block of {language} under {heading}")
    return block[1]
