"""One process of the service under test, which scenarios stop, kill and start anew on the same port."""

import asyncio
import contextlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psutil

from tests.faults.ports import low_port
from tests.support.process import environment

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30.0
RESET_PEAK = "5"
"""What Linux takes, in clear_refs of a process, for starting its high-water mark of memory anew."""

STARTS = 2
"""How often a process that ends at once is started: its port may have been taken in the meantime."""


class Replica:
    """A serving process. Its log is a file, or a device that a scenario chose for its fault."""

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, str], log: Path, extra: Mapping[str, str]
    ) -> None:
        """Run `command` with these settings; `extra` are further variables of its environment."""
        self.port = low_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._command = command
        self._environment = {**environment(**settings), **extra}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process:
        """The process that was started last."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises TimeoutError or ChildProcessError where it is not."""
        for attempt in range(1, STARTS + 1):
            self._launch()
            try:
                await self._ready()
            except ChildProcessError:
                if attempt == STARTS:
                    raise
            else:
                return

    def _launch(self) -> None:
        mode = "ab" if self.log.is_file() or not self.log.exists() else "wb"
        with self.log.open(mode) as log:
            self._process = subprocess.Popen(
                [*self._command, "--port", str(self.port)], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    async def _ready(self) -> None:
        async with httpx.AsyncClient(timeout=5) as client, asyncio.timeout(READY_SECONDS):
            while not await self._answers(client):
                if self.exit_status() is not None:
                    raise ChildProcessError(f"The service ended with {self.exit_status()} before it was ready.")
                await asyncio.sleep(0.05)

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/livez")).status_code == 200
        except httpx.TransportError:
            return False

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def exit_status(self) -> int | None:
        """Return how the process ended; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    async def stopped(self, seconds: float = 40.0) -> int:
        """Wait for the process to end; return its exit status. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (status := self.exit_status()) is None:
                await asyncio.sleep(0.01)
        return status

    def close(self) -> None:
        """End the process and its workers, each by its id, if they still run."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [*self.workers(), self.process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        self._process.wait(30)

    def workers(self) -> list[psutil.Process]:
        """Return the processes that serve, where there are several: those that the supervisor started."""
        return [child for child in self.process.children() if "spawn_main" in " ".join(child.cmdline())]

    def callers(self) -> int:
        """Return how many connections the process has accepted and not closed yet."""
        connections = self.process.net_connections("tcp")
        return sum(one.laddr.port == self.port and one.status == psutil.CONN_ESTABLISHED for one in connections)

    def peak_megabytes(self) -> float:
        """Return the most memory that the process, or the greatest of its workers, has held so far."""
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            return max(_peak_megabytes(one.pid) for one in [self.process, *self.workers()])
        return 0.0

    def forget_peak(self) -> None:
        """Count the most memory from what is held now on."""
        for one in [self.process, *self.workers()]:
            Path(f"/proc/{one.pid}/clear_refs").write_text(RESET_PEAK)


def _peak_megabytes(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found is not None else 0.0
