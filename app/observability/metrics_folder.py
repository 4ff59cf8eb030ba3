"""The folder PROMETHEUS_MULTIPROC_DIR, in which the workers of a service share their metrics, in files by process id.

prometheus_client reads the variable when it is imported, so this module does not import it.
"""

import os
from pathlib import Path

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def live_processes(folder: Path) -> list[int]:
    """Return the ids of the running processes that have files in `folder`, in ascending order."""
    pids = {_pid_of(file) for file in folder.glob("*.db")}
    return sorted(pid for pid in pids if pid is not None and _is_running(pid))


def delete_files_of_ended_processes(folder: Path) -> None:
    """Delete the files of ended processes, whose counts would be added to those of the running ones."""
    for file in folder.glob("*.db"):
        pid = _pid_of(file)
        if pid is not None and not _is_running(pid):
            file.unlink(missing_ok=True)


def _pid_of(file: Path) -> int | None:
    """Return the process id at the end of a file's name, such as 17 for counter_17.db, else None."""
    pid = file.stem.rpartition("_")[2]
    return int(pid) if pid.isdecimal() else None


def _is_running(pid: int) -> bool:
    """Return whether a process has this id. Signal 0 is never delivered: `kill` only checks that the process exists."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # the process of another user
        return True
    return True
