"""Events between replicas about a tenant's tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A change of tasks of one tenant. The fields are the JSON members of the message.

    Attributes:
        changed: tasks that were read in another state than before.
        missing: tasks that were read and are unknown to the backend.
        hinted: tasks whose end a callback reported. Only a read confirms it.

    """

    tenant: str
    changed: Sequence[str] = field(default=())
    missing: Sequence[str] = field(default=())
    hinted: Sequence[str] = field(default=())


_TASK_EVENT = TypeAdapter(TaskEvent)


def pack(event: TaskEvent) -> bytes:
    """Return the message for `event`."""
    return _TASK_EVENT.dump_json(event)


def unpack(message: bytes) -> TaskEvent | None:
    """Return the event in a message; None for a form that this release does not know."""
    try:
        return _TASK_EVENT.validate_json(message)
    except ValidationError:
        return None
