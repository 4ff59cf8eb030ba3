"""The installed command `luma-mcp` in a process of its own."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "luma-mcp")
_ADDRESS = re.compile(r"Serving MCP at (http://[^/]+)/mcp")
_KEPT = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "PYTHONPATH")


def environment(**settings: str) -> dict[str, str]:
    """Return environment variables with these LUMA_MCP_ settings and no others.

    Names are lowercase without the prefix. The database is SQLite in memory by default.
    """
    settings = {"database_url": "sqlite:///:memory:", **settings}
    base = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return base | {f"LUMA_MCP_{name.upper()}": value for name, value in settings.items()}


def run(
    *arguments: str, cwd: Path, env: Mapping[str, str], given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in `cwd`, with `given` on standard input, and wait for it, at most 60 seconds."""
    return subprocess.run(  # noqa: PLW1510 - the exit status is what tests look at
        [COMMAND, *arguments], cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=60, input=given
    )


class Server:
    """A running `luma-mcp serve`: its address and its log (standard error)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._address = ""
        self._has_address_or_ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if (match := _ADDRESS.search(line)) is not None:
                self._address = match[1]
                self._has_address_or_ended.set()
        self._has_address_or_ended.set()

    @property
    def url(self) -> str:
        """The address from the log, without /mcp. Raises AssertionError if the process ended, or after 30 seconds."""
        assert self._has_address_or_ended.wait(30), "the server logged no address within 30 s"
        assert self._address, "".join(self.lines)
        return self._address

    def log(self) -> str:
        """Return the whole log after the process has ended, or what there is of it after 30 seconds."""
        self._reader.join(30)
        return "".join(self.lines)


@contextmanager
def serving_process(*arguments: str, cwd: Path, env: Mapping[str, str]) -> Iterator[Server]:
    """Run `luma-mcp serve` on a free port, and terminate it when the block ends."""
    process = subprocess.Popen(
        [COMMAND, "serve", "--port", "0", *arguments], cwd=cwd, env=dict(env), stderr=subprocess.PIPE, text=True
    )
    try:
        yield Server(process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        assert process.stderr is not None
        process.stderr.close()
