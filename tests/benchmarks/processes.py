"""The server processes of a run: the measured server is pinned to one core, everything else to the others."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.process import environment

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
SERVICE = [str(ROOT / ".venv" / "shipped" / "bin" / "luma-mcp"), "serve", "--port", "0"]
"""The installed service in a virtual environment without development packages."""
FASTMCP_PYTHON = str(ROOT / ".venv" / "fastmcp" / "bin" / "python")
READY_SECONDS = 30.0
IDLE_SECONDS = 1.0
"""Time over which an idle server uses at most a tenth of a core."""

_SAYS_WHERE = "Serving MCP at "


def cores() -> list[int]:
    """Return the cores that this process may use; empty if the system does not support CPU affinity."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True, slots=True)
class Running:
    """A running server. `url` ends in /mcp."""

    url: str
    process: psutil.Process
    log: Path

    def family(self) -> list[psutil.Process]:
        """Return the process and its workers."""
        return [self.process, *self.process.children(recursive=True)]

    def megabytes(self) -> float:
        """Return the resident memory of the process alone, in MB of 10^6 bytes."""
        return float(self.process.memory_info().rss) / 1e6

    def cpu_seconds(self) -> float:
        """Return the processor time spent so far, workers included."""
        return sum(times.user + times.system for times in (one.cpu_times() for one in self.family()))

    def await_idle(self) -> None:
        """Wait until the processes use no processor time: several workers start after the address is printed.

        Raises SystemExit if that takes longer than READY_SECONDS.
        """
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            before = self.cpu_seconds()
            time.sleep(IDLE_SECONDS)
            if self.cpu_seconds() - before < IDLE_SECONDS / 10:
                return
        raise SystemExit(f"the server is still busy after {READY_SECONDS:.0f} s:\n{self.log.read_text()[-2000:]}")


@contextmanager
def serving(command: Sequence[str], settings: Mapping[str, str], *, on: Sequence[int]) -> Iterator[Running]:
    """Run a server on the cores `on` (empty: any) until the block ends; its output goes to a log file.

    Raises SystemExit if it does not print its address within READY_SECONDS.
    """
    with tempfile.TemporaryDirectory(prefix="luma-mcp-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("w") as written:
            process = subprocess.Popen(
                list(command), cwd=ROOT, env=environment(**settings), stdout=written, stderr=subprocess.STDOUT
            )
        try:
            handle = psutil.Process(process.pid)
            if on and hasattr(handle, "cpu_affinity"):
                handle.cpu_affinity(list(on))
            yield Running(f"{_address(process, log)}/mcp", handle, log)
        finally:
            process.terminate()
            process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        said = log.read_text().partition(_SAYS_WHERE)[2]
        if "/mcp" in said:
            return said.partition("/mcp")[0]
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} did not start:\n{log.read_text()[-2000:]}")
