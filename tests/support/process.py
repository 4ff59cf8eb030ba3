"""The command `luma-mcp` in a process of its own."""

import atexit
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

import psutil

from tests.support import warm_command
from tests.support.warm_command import run_warm

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
    """Run the command in `cwd`, with `given` on standard input, and wait for it, at most 60 seconds.

    It is a fork of a process that has imported the program, unless `env` has variables that imports look at.
    """
    if any(not name.startswith("LUMA_MCP_") and name not in _KEPT for name in env):
        return subprocess.run(  # noqa: PLW1510 - the exit status is what tests look at
            [COMMAND, *arguments], cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=60, input=given
        )
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write((given or "").encode())
        stdin.seek(0)
        status = run_warm(_warm_commands(), arguments, str(cwd), env, [one.fileno() for one in (stdin, stdout, stderr)])
        printed = [_read_again(stream) for stream in (stdout, stderr)]
    return subprocess.CompletedProcess([COMMAND, *arguments], status, *printed)


def shell_command() -> str:
    """Return the words that stand for `luma-mcp` in a shell, and run it as a fork, as `run` does."""
    return shlex.join([sys.executable, "-I", "-S", warm_command.__file__, _warm_commands()])


def _read_again(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


@cache
def _warm_commands() -> str:
    """Start the process that forks for each command, once for each test process. Return the path of its socket."""
    folder = tempfile.mkdtemp(prefix="luma-mcp-commands-")
    path = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_commands", path],
        cwd=Path(__file__).parents[2],
        env=environment(),
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder)

    atexit.register(end)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return path


def workers_of(supervisor: psutil.Process) -> list[psutil.Process]:
    """Return the worker processes of a service with --workers that have not ended."""
    found = []
    for child in supervisor.children():
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


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
