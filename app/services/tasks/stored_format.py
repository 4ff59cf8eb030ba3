"""The stored format of rendered tasks and of snapshots: a fixed header, then the JSON.

Nothing is parsed when they are read: whoever made the mark on a value has the secret, and rendered a task that its
backend's adapter had cleaned.
"""

import struct
from math import isnan, nan

from app.domain.rendered import RenderedTask
from app.domain.snapshot import TaskSnapshot
from app.domain.task import TaskState

VERSION = 1
"""The first byte of a form; raise it with any change, and values of another release are misses."""

_STATES = tuple(TaskState)
_NUMBERS = {state: number for number, state in enumerate(_STATES)}
_TASK = struct.Struct(">BBdddHHH")
"""Version, state, fresh until, created, finished (not a number: unknown), and the lengths of head, line and rest."""

_TASK_BYTES = _TASK.size

_RECORD = struct.Struct(">B?dddd")
"""Version, whether it expects a callback, until when it counts, submitted, read and changed at (not a number: never).

The form of its task follows.
"""

LONGEST_PART = 65_535

CLOCKS_DIFFER_SECONDS = 5.0
"""How much longer than its time a value counts, for the clocks of two replicas may differ by as much."""


class Malformed(Exception):
    """Raised for what is authentic and of this version, but of no length that its header tells."""


def pack_task(task: RenderedTask) -> bytes | None:
    """Return the form to keep; None for a task that is too long for it."""
    head, line, rest = task.head, task.line, task.rest
    if max(len(head), len(line), len(rest)) > LONGEST_PART:
        return None
    times = (task.fresh_until, _number(task.created_at), _number(task.finished_at))
    header = _TASK.pack(VERSION, _NUMBERS[task.state], *times, len(head), len(line), len(rest))
    return b"".join((header, head, line, rest))


def unpack_task(task_id: str, form: bytes) -> RenderedTask | None:
    """Return the task, or None for the form of another release. Raises Malformed."""
    if form[:1] != _VERSION_BYTE:
        return None
    if len(form) < _TASK_BYTES:
        raise Malformed
    _, state, fresh_until, created, finished, head, line, rest = _TASK.unpack_from(form)
    line_at = _TASK_BYTES + head
    rest_at = line_at + line
    if rest_at + rest != len(form) or state >= len(_STATES):
        raise Malformed
    return RenderedTask(
        task_id,
        _STATES[state],
        created if created == created else None,  # noqa: PLR0124 - isnan takes twice as long
        finished if finished == finished else None,  # noqa: PLR0124
        fresh_until,
        form[_TASK_BYTES:line_at],
        form[line_at:rest_at],
        form[rest_at:],
    )


def pack_snapshot(snapshot: TaskSnapshot, until: float) -> bytes | None:
    """Return the form to keep, which counts until then (unix seconds); None where the task is too long for it."""
    times = map(_number, (snapshot.submitted_at, snapshot.read_at, snapshot.changed_at))
    task = pack_task(snapshot.task)
    return _RECORD.pack(VERSION, snapshot.expects_callback, until, *times) + task if task is not None else None


def unpack_snapshot(task_id: str, form: bytes, now: float) -> TaskSnapshot | None:
    """Return the snapshot; None if it has expired, or has the format of another release. Raises Malformed."""
    if form[:1] != _VERSION_BYTE:
        return None
    if len(form) < _RECORD.size:
        raise Malformed
    _, expects_callback, until, *times = _RECORD.unpack_from(form)
    if until + CLOCKS_DIFFER_SECONDS < now:
        return None
    task = unpack_task(task_id, form[_RECORD.size :])
    submitted_at, read_at, changed_at = map(_time, times)
    return TaskSnapshot(task, submitted_at, read_at, changed_at, expects_callback) if task is not None else None


_VERSION_BYTE = bytes([VERSION])


def _number(moment: float | None) -> float:
    return nan if moment is None else moment


def _time(number: float) -> float | None:
    return None if isnan(number) else number
