"""The command line with the settings of a test."""

import asyncio
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.process import run


@dataclass(frozen=True)
class Cli:
    """`luma-mcp` in `folder`, with the environment `env`. `words` stand before the arguments of each command."""

    folder: Path
    env: dict[str, str]
    words: tuple[str, ...] = ()

    async def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command, with `given` on its standard input."""
        return await asyncio.to_thread(run, *self.words, *arguments, cwd=self.folder, env=self.env, given=given)

    async def ended(self, *arguments: str) -> tuple[int, str, str]:
        """Return the status of a command, and what it has printed on both streams."""
        ended = await self.run(*arguments)
        return ended.returncode, ended.stdout, ended.stderr

    async def text(self, *arguments: str, given: str = "") -> str:
        """Return what a command has printed. Raises AssertionError if it has failed or complained."""
        ended = await self.run(*arguments, given=given)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    async def ask(self, *arguments: str, given: str = "") -> Any:
        """Return the document of a command. Raises AssertionError as `text` does."""
        return json.loads(await self.text(*arguments, "--json", given=given))

    async def refused(self, *arguments: str, given: str = "", status: int = 1) -> str:
        """Return the sentence of a refusal, the only thing that is printed."""
        ended = await self.run(*arguments, given=given)
        assert (ended.returncode, ended.stdout) == (status, "")
        assert ended.stderr.startswith("luma-mcp: ")
        assert ended.stderr.count("\n") == 1
        return ended.stderr
