"""The stored format of rendered tasks and of snapshots: a fixed header, then the JSON.

The JSON is not parsed again when a value is read. A replica of this service has sealed the value, and the backend's
adapter has sanitized the task before.
"""

import struct
from math import isnan, nan

from app.domain.rendered import RenderedTask
from app.domain.snapshot import TaskSnapshot
from app.domain.task import TaskState

VERSION = 1
"""First byte of a value. Raise it when the format changes; values with another version are misses."""

_STATES = tuple(TaskState)
_STATE_NUMBERS = {state: number for number, state in enumerate(_STATES)}
_TASK = struct.Struct(">BBdddHHH")
"""Version, state, `fresh_until`, `created_at`, `finished_at` (NaN: unknown), and the lengths of the bytes that follow.

Those are `head`, `line` and `rest` of RenderedTask.
"""

_TASK_BYTES = _TASK.size

_SNAPSHOT = struct.Struct(">B?dddd")
"""Version, `expects_callback`, expiry, `submitted_at`, `read_at` and `changed_at` (NaN: never). The task follows."""

MAX_PART_LENGTH = 65_535
"""Length limit in bytes of `head`, `line` and `rest`: their lengths are stored in 16 bits."""

CLOCKS_DIFFER_SECONDS = 5.0
"""Time for which a value stays valid after its expiry: the assumed limit of the difference between replicas' clocks."""


class Malformed(Exception):
    """The value has this version, but its length or state does not match its header."""


def pack_task(task: RenderedTask) -> bytes | None:
    """Return `task` in the stored format; None if `head`, `line` or `rest` is too long."""
    head, line, rest = task.head, task.line, task.rest
    if max(len(head), len(line), len(rest)) > MAX_PART_LENGTH:
        return None
    times = (task.fresh_until, _time_or_nan(task.created_at), _time_or_nan(task.finished_at))
    header = _TASK.pack(VERSION, _STATE_NUMBERS[task.state], *times, len(head), len(line), len(rest))
    return b"".join((header, head, line, rest))


def unpack_task(task_id: str, packed: bytes) -> RenderedTask | None:
    """Return the task; None if the value has another version. Raises Malformed."""
    if packed[:1] != _VERSION_BYTE:
        return None
    if len(packed) < _TASK_BYTES:
        raise Malformed
    _, state, fresh_until, created, finished, head_length, line_length, rest_length = _TASK.unpack_from(packed)
    line_at = _TASK_BYTES + head_length
    rest_at = line_at + line_length
    if rest_at + rest_length != len(packed) or state >= len(_STATES):
        raise Malformed
    return RenderedTask(
        task_id,
        _STATES[state],
        created if created == created else None,  # noqa: PLR0124 - isnan takes twice as long
        finished if finished == finished else None,  # noqa: PLR0124
        fresh_until,
        packed[_TASK_BYTES:line_at],
        packed[line_at:rest_at],
        packed[rest_at:],
    )


def pack_snapshot(snapshot: TaskSnapshot, until: float) -> bytes | None:
    """Return `snapshot` in the stored format, valid until `until` (unix seconds); None if the task is too long."""
    times = map(_time_or_nan, (snapshot.submitted_at, snapshot.read_at, snapshot.changed_at))
    task = pack_task(snapshot.task)
    return _SNAPSHOT.pack(VERSION, snapshot.expects_callback, until, *times) + task if task is not None else None


def unpack_snapshot(task_id: str, packed: bytes, now: float) -> TaskSnapshot | None:
    """Return the snapshot; None if it has expired or has another version. Raises Malformed."""
    if packed[:1] != _VERSION_BYTE:
        return None
    if len(packed) < _SNAPSHOT.size:
        raise Malformed
    _, expects_callback, until, *times = _SNAPSHOT.unpack_from(packed)
    if until + CLOCKS_DIFFER_SECONDS < now:
        return None
    task = unpack_task(task_id, packed[_SNAPSHOT.size :])
    submitted_at, read_at, changed_at = map(_time_or_none, times)
    return TaskSnapshot(task, submitted_at, read_at, changed_at, expects_callback) if task is not None else None


_VERSION_BYTE = bytes([VERSION])


def _time_or_nan(moment: float | None) -> float:
    return nan if moment is None else moment


def _time_or_none(stored: float) -> float | None:
    return None if isnan(stored) else stored
