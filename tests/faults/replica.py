"""One replica of the service under test, which scenarios stop, kill and restart on the same port."""

import asyncio
import contextlib
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psutil

from tests.faults.ports import low_port
from tests.support.process import environment, workers_of

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30.0
RESET_PEAK = "5"
"""Written to /proc/PID/clear_refs, it resets the peak resident memory VmHWM (proc(5))."""

STARTS = 2
"""The number of attempts to start a process that ends before it is ready: its port may have been taken meanwhile."""


class Replica:
    """A serving process, with workers or without. Its log is a file, or a device in scenarios about a full disk."""

    def __init__(
        self, command: Sequence[str], settings: Mapping[str, str], log: Path, extra: Mapping[str, str]
    ) -> None:
        """Prepare to run `command` with these settings and the environment variables `extra`."""
        self.port = low_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._command = command
        self._environment = {**environment(**settings), **extra}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process:
        """The latest process, which may have ended."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    async def start(self) -> float:
        """Start the process, wait until it answers /livez, and return how long that took (seconds).

        Raises ChildProcessError if it ends first, and TimeoutError after READY_SECONDS.
        """
        started = time.monotonic()
        for attempt in range(1, STARTS + 1):
            self._launch()
            try:
                await self._ready()
            except ChildProcessError:
                if attempt == STARTS:
                    raise
            else:
                break
        return time.monotonic() - started

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
                    raise ChildProcessError(
                        f"The service ended with exit status {self.exit_status()} before it was ready."
                    )
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
        """Return the exit status of the process, or None while it runs."""
        assert self._process is not None
        return self._process.poll()

    async def stopped(self, seconds: float = 40.0) -> int:
        """Wait for the process to end and return its exit status. Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            while (status := self.exit_status()) is None:
                await asyncio.sleep(0.01)
        return status

    def close(self) -> None:
        """Kill the process and its workers if they still run."""
        if self._process is None or self._process.poll() is not None:
            return
        workers = self.workers()
        self._process.kill()
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        self._process.wait(30)

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes of the supervisor that have not ended; empty without --workers."""
        return workers_of(self.process)

    def open_connections(self) -> int:
        """Return the number of established connections to the replica's port."""
        connections = self.process.net_connections("tcp")
        return sum(one.laddr.port == self.port and one.status == psutil.CONN_ESTABLISHED for one in connections)

    def peak_megabytes(self) -> float:
        """Return the peak resident memory of the process or of its largest worker; 0 if it has ended."""
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            return max(_peak_megabytes(one.pid) for one in [self.process, *self.workers()])
        return 0.0

    def forget_peak(self) -> None:
        """Reset the peak resident memory to the current one."""
        for one in [self.process, *self.workers()]:
            Path(f"/proc/{one.pid}/clear_refs").write_text(RESET_PEAK)


def _peak_megabytes(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found is not None else 0.0
