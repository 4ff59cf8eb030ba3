"""What one replica tells the others about a tenant's tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something happened to tasks of one tenant.

    `changed` were read and are in another state than before; `missing` were read and are unknown to the backend;
    `hinted` are said to have ended, which only a read can confirm.
    """

    tenant: str
    changed: Sequence[str] = field(default=())
    missing: Sequence[str] = field(default=())
    hinted: Sequence[str] = field(default=())


_TASK_EVENT = TypeAdapter(TaskEvent)


def pack(event: TaskEvent) -> bytes:
    """Return the message that carries `event`."""
    return _TASK_EVENT.dump_json(event)


def unpack(message: bytes) -> TaskEvent | None:
    """Return the news in a message, or None where it carries none that this release understands."""
    try:
        return _TASK_EVENT.validate_json(message)
    except ValidationError:
        return None
