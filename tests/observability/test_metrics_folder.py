"""The folder of the workers' metrics: whose files are kept."""

import os
import subprocess
import sys
from pathlib import Path

from app.observability.metrics_folder import delete_files_of_ended_processes, live_processes

ANOTHER_USERS_PROCESS = 1
BEYOND_ALL_IDS = 10**30


def ended_process() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(30)
    return process.pid


def test_files_of_ended_processes_are_deleted_and_others_are_kept(tmp_path: Path) -> None:
    ended, own = ended_process(), os.getpid()
    kept = {
        f"counter_{own}.db",
        f"gauge_livesum_{own}.db",
        f"counter_{ANOTHER_USERS_PROCESS}.db",
        "of_no_process.db",
        "notes.txt",
    }
    for name in {*kept, f"counter_{ended}.db", f"gauge_liveall_{ended}.db", f"counter_{BEYOND_ALL_IDS}.db"}:
        (tmp_path / name).touch()
    delete_files_of_ended_processes(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == kept


def test_each_running_process_is_listed_once(tmp_path: Path) -> None:
    for name in (f"counter_{os.getpid()}.db", f"histogram_{os.getpid()}.db", f"counter_{ended_process()}.db"):
        (tmp_path / name).touch()
    assert live_processes(tmp_path) == [os.getpid()]
