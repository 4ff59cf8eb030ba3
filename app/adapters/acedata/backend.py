"""AceDataCloud as the service's gateway: how ids are asked for, and what an incomplete answer means."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from app.adapters.acedata.client import AceDataClient, Tally
from app.adapters.acedata.exchange import AnswerTooLarge
from app.adapters.acedata.wire import (
    callback_url_in,
    echoes,
    id_in,
    read_request,
    records_in,
    submit_request,
    task_id_in,
    tasks_in,
)
from app.domain.errors import BackendError, BackendTimeout, LumaError, OutcomeUnknown
from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.task import Answer
from app.ports.backend import Reading

CHUNK = 50
"""Ids in one call: the most that the provider's own MCP server recommends."""

DEFAULT_LIMIT = 12
"""Records in an answer of a worker that ignores `limit`. Source: the documentation of the sibling services."""

VIDEOS_PATH = "/luma/videos"
TASKS_PATH = "/luma/tasks"

MOST_RECORDS = 4
"""Records for each id that was asked: the backend may repeat itself, but not without end."""

MOST_SPLITS = 16
"""Times that ids are asked for again in two halves, in one reading. Six find the one of fifty that is too large."""

CANNOT_LOOK = (
    "AceDataCloud could not be asked what became of an earlier call with this `idempotency_key`. This call submitted "
    "nothing: try again shortly with the same key."
)

_PRIVATE = ("prompt", "start_image_url", "end_image_url", "video_url", "video_id", "callback_url")
"""The fields of a command that no error may quote."""


class AceDataBackend:
    """The VideoBackend over AceDataCloud's two endpoints."""

    def __init__(
        self, client: AceDataClient, wall_clock: Callable[[], float], *, own_media_url: str | None = None
    ) -> None:
        """Speak through `client`; `wall_clock` gives unix seconds.

        `own_media_url` is where this service itself serves videos, in the sandbox alone: such results may be shown.
        """
        self._client = client
        self._own_media_url = own_media_url
        self._wall_clock = wall_clock

    async def find_tasks(
        self, principal: Principal, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> Reading:
        """Read the tasks in chunks at once; a fault is the answer for the ids of its chunk."""
        tally = Tally(on_send)
        chunks = [self._find_chunk(principal, chunk, tally) for chunk in _split(task_ids, CHUNK)]
        answers: dict[str, Answer] = {}
        for found in await asyncio.gather(*chunks):
            answers |= found
        return Reading(answers, tally.calls)

    async def submit(self, principal: Principal, command: Command) -> str:
        """Start a generation. Raises LumaError; where the outcome is unknown its sentence says so."""
        private = tuple(filter(None, (getattr(command, name, None) for name in _PRIVATE)))
        return await self._client.send_once(VIDEOS_PATH, principal, submit_request(command), private, _started)

    async def callback_url_of(self, principal: Principal, task_id: str, command: Command) -> str | None:
        """Return the callback URL that the backend echoes for the task, if the rest of its echo agrees with `command`.

        Raises LumaError.
        """

        def echoed(body: Any) -> str | None:
            found = (record for record in records_in(body) or () if record.get("id") == task_id)
            return next((callback_url_in(record) for record in found if echoes(record, command)), None)

        try:
            return await self._client.read(TASKS_PATH, principal, read_request([task_id]), Tally(), echoed)
        except (BackendError, BackendTimeout) as exc:
            raise type(exc)(CANNOT_LOOK, retry_after_seconds=exc.retry_after_seconds) from None

    async def _find_chunk(self, principal: Principal, task_ids: Sequence[str], tally: Tally) -> dict[str, Answer]:
        answers, unsure = await self._ask(principal, task_ids, tally)
        again = [self._ask(principal, chunk, tally) for chunk in _split(unsure, DEFAULT_LIMIT)]
        for found, _ in await asyncio.gather(*again):
            answers |= found
        return answers

    async def _ask(
        self, principal: Principal, task_ids: Sequence[str], tally: Tally
    ) -> tuple[dict[str, Answer], list[str]]:
        """Return an answer for each id, and the ids that only an answer cut short may have left out."""

        def reconciled(body: Any) -> tuple[dict[str, Answer], list[str]]:
            return self._reconcile(principal, task_ids, body)

        try:
            return await self._client.read(TASKS_PATH, principal, read_request(task_ids), tally, reconciled)
        except AnswerTooLarge:
            if len(task_ids) == 1 or tally.splits >= MOST_SPLITS:
                return dict.fromkeys(task_ids, BackendError()), []
        except LumaError as fault:
            return dict.fromkeys(task_ids, fault), []
        return await self._ask_in_halves(principal, task_ids, tally)

    async def _ask_in_halves(
        self, principal: Principal, task_ids: Sequence[str], tally: Tally
    ) -> tuple[dict[str, Answer], list[str]]:
        """Ask for fewer ids at once, because the answer about all of them is too large."""
        tally.splits += 1
        halves = _split(task_ids, (len(task_ids) + 1) // 2)
        (answers, unsure), (others, more) = await asyncio.gather(
            *(self._ask(principal, half, tally) for half in halves)
        )
        return answers | others, unsure + more

    def _reconcile(
        self, principal: Principal, task_ids: Sequence[str], body: Any
    ) -> tuple[dict[str, Answer], list[str]]:
        """Match records to ids: the backend may reorder, repeat, leave out, and answer about something else."""
        records = records_in(body)
        if records is None or len(records) > MOST_RECORDS * len(task_ids):
            return dict.fromkeys(task_ids, BackendError()), []
        named, wanted = [task_id_in(record) for record in records], {*task_ids}
        asked = [record for record, task_id in zip(records, named, strict=True) if task_id in wanted]
        tasks = tasks_in(asked, self._wall_clock(), self._own_media_url, token=principal.credential)
        left_out = [task_id for task_id in task_ids if task_id not in tasks]
        beside_the_point = not {*named} - {None} <= wanted or (records and not tasks)
        absent: Answer = BackendError() if beside_the_point else None
        answers: dict[str, Answer] = {task_id: tasks.get(task_id, absent) for task_id in task_ids}
        count = body.get("count")
        cut = len(records) >= DEFAULT_LIMIT or (isinstance(count, int) and count > len(records))
        return answers, left_out if cut else []


def _started(body: Any) -> str:
    """Return the id of the task that a submission became. Raises OutcomeUnknown where none can be asked for by it."""
    task_id = id_in(body.get("task_id")) if isinstance(body, dict) else None
    if task_id is None:
        raise OutcomeUnknown
    return task_id


def _split(task_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (task_ids[start : start + size] for start in range(0, len(task_ids), size))
