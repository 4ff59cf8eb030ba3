"""Events that replicas send to each other about a tenant's tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """An event about tasks of one tenant.

    Attributes:
        changed: ids of tasks whose state changed between two reads.
        missing: ids of tasks that were missing from the backend's answer to a read.
        reported_finished: ids of tasks whose end a callback reported and a read must confirm. The JSON name is
            `hinted`, which replicas of earlier releases read.

    """

    tenant: str
    changed: Sequence[str] = field(default=())
    missing: Sequence[str] = field(default=())
    reported_finished: Annotated[Sequence[str], Field(alias="hinted")] = field(default=())


_TASK_EVENT = TypeAdapter(TaskEvent)


def pack(event: TaskEvent) -> bytes:
    """Return the message for `event`."""
    return _TASK_EVENT.dump_json(event, by_alias=True)


def unpack(message: bytes) -> TaskEvent | None:
    """Return the event in a message; None if its format is not known to this release."""
    try:
        return _TASK_EVENT.validate_json(message)
    except ValidationError:
        return None
