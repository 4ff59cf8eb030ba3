"""AceDataCloud as a video backend: how ids are asked for, and what an incomplete answer means."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from app.adapters.acedata.client import AceDataClient, CallCounter
from app.adapters.acedata.policy import ACEDATACLOUD, NAME
from app.adapters.acedata.sender import AnswerTooLarge
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
from app.domain.access import Credential
from app.domain.backend import BackendDescription
from app.domain.errors import BackendError, BackendTimeout, LumaError, OutcomeUnknown
from app.domain.generation import Command
from app.domain.task import Answer
from app.ports.backend import BatchResult, CallbackReport, Health

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
        self,
        client: AceDataClient,
        wall_clock: Callable[[], float],
        *,
        description: BackendDescription = ACEDATACLOUD,
        own_media_url: str | None = None,
    ) -> None:
        """Speak through `client`, which is closed at the end; `wall_clock` gives unix seconds.

        `own_media_url` is where this service itself serves videos, in the sandbox alone: such results may be shown.
        """
        self.description = description
        self._client = client
        self._own_media_url = own_media_url
        self._wall_clock = wall_clock

    async def __aenter__(self) -> Self:
        """Lend the backend; nothing is connected before the first call."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def find_tasks(
        self, credential: Credential, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> BatchResult:
        """Read the tasks in chunks at once; a fault is the answer for the ids of its chunk."""
        call_counter = CallCounter(on_send)
        chunks = [self._find_chunk(credential, chunk, call_counter) for chunk in _split(task_ids, CHUNK)]
        answers: dict[str, Answer] = {}
        for found in await asyncio.gather(*chunks):
            answers |= found
        return BatchResult(answers, call_counter.calls)

    async def submit(self, credential: Credential, command: Command) -> str:
        """Start a generation. Raises LumaError; where the outcome is unknown its sentence says so."""
        private = tuple(filter(None, (getattr(command, name, None) for name in _PRIVATE)))
        return await self._client.send_once(VIDEOS_PATH, credential, submit_request(command), private, _started)

    async def find_by_callback(
        self, credential: Credential, command: Command, claimed: Sequence[str], is_its_url: Callable[[str], bool]
    ) -> str | None:
        """Return the one of `claimed` that was submitted with a URL that `is_its_url`, and with nothing but `command`.

        A task's record echoes its request, so it is read for each id. Raises LumaError.
        """
        error: LumaError | None = None
        for task_id in claimed:
            try:
                url = await self._callback_url_of(credential, task_id, command)
            except LumaError as exc:  # a false claim must not hide the true one
                error = exc
                continue
            if url is not None and is_its_url(url):
                return task_id
        if error is not None:
            raise error
        return None

    def parse_callback(self, body: bytes) -> CallbackReport | None:
        """Return the task that a callback claims to be about; nothing else that it says is believed."""
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return None
        task_id = id_in(content.get("task_id")) if isinstance(content, dict) else None
        return CallbackReport(task_id) if task_id is not None else None

    async def check(self, seconds: float) -> Health:
        """Say whether AceDataCloud answers a call without a token within `seconds`."""
        host = urlsplit(self.description.address or "").netloc.rpartition("@")[2]
        try:
            status = await self._client.check(TASKS_PATH, seconds)
        except httpx.HTTPError as exc:
            return Health(is_good=False, words=f"{host} does not answer ({type(exc).__name__})")
        if status == httpx.codes.NOT_FOUND:
            said = f"{host} answers, but not as {NAME} does (HTTP 404): is LUMA_MCP_ACEDATA_URL right?"
            return Health(is_good=False, words=said)
        answers = status < httpx.codes.INTERNAL_SERVER_ERROR
        return Health(is_good=answers, words=f"{host} {'answers' if answers else 'is in trouble'} (HTTP {status})")

    async def _callback_url_of(self, credential: Credential, task_id: str, command: Command) -> str | None:
        """Return the callback URL that the task's record echoes, if the rest of its echo agrees with `command`."""

        def echoed(body: Any) -> str | None:
            found = (record for record in records_in(body) or () if record.get("id") == task_id)
            return next((callback_url_in(record) for record in found if echoes(record, command)), None)

        try:
            return await self._client.read(TASKS_PATH, credential, read_request([task_id]), CallCounter(), echoed)
        except (BackendError, BackendTimeout) as exc:
            raise type(exc)(CANNOT_LOOK, retry_after_seconds=exc.retry_after_seconds) from None

    async def _find_chunk(
        self, credential: Credential, task_ids: Sequence[str], call_counter: CallCounter
    ) -> dict[str, Answer]:
        answers, unsure = await self._ask(credential, task_ids, call_counter)
        again = [self._ask(credential, chunk, call_counter) for chunk in _split(unsure, DEFAULT_LIMIT)]
        for found, _ in await asyncio.gather(*again):
            answers |= found
        return answers

    async def _ask(
        self, credential: Credential, task_ids: Sequence[str], call_counter: CallCounter
    ) -> tuple[dict[str, Answer], list[str]]:
        """Return an answer for each id, and the ids that only an answer cut short may have left out."""

        def reconciled(body: Any) -> tuple[dict[str, Answer], list[str]]:
            return self._reconcile(credential, task_ids, body)

        try:
            return await self._client.read(TASKS_PATH, credential, read_request(task_ids), call_counter, reconciled)
        except AnswerTooLarge:
            if len(task_ids) == 1 or call_counter.splits >= MOST_SPLITS:
                return dict.fromkeys(task_ids, ACEDATACLOUD.error(BackendError)), []
        except LumaError as exc:
            return dict.fromkeys(task_ids, exc), []
        return await self._ask_in_halves(credential, task_ids, call_counter)

    async def _ask_in_halves(
        self, credential: Credential, task_ids: Sequence[str], call_counter: CallCounter
    ) -> tuple[dict[str, Answer], list[str]]:
        """Ask for fewer ids at once, because the answer about all of them is too large."""
        call_counter.splits += 1
        halves = _split(task_ids, (len(task_ids) + 1) // 2)
        (answers, unsure), (others, more) = await asyncio.gather(
            *(self._ask(credential, half, call_counter) for half in halves)
        )
        return answers | others, unsure + more

    def _reconcile(
        self, credential: Credential, task_ids: Sequence[str], body: Any
    ) -> tuple[dict[str, Answer], list[str]]:
        """Match records to ids: the backend may reorder, repeat, leave out, and answer about something else."""
        records = records_in(body)
        if records is None or len(records) > MOST_RECORDS * len(task_ids):
            return dict.fromkeys(task_ids, ACEDATACLOUD.error(BackendError)), []
        named, wanted = [task_id_in(record) for record in records], {*task_ids}
        asked = [record for record, task_id in zip(records, named, strict=True) if task_id in wanted]
        tasks = tasks_in(asked, self._wall_clock(), self._own_media_url, token=credential.secret)
        left_out = [task_id for task_id in task_ids if task_id not in tasks]
        beside_the_point = not {*named} - {None} <= wanted or (records and not tasks)
        absent: Answer = ACEDATACLOUD.error(BackendError) if beside_the_point else None
        answers: dict[str, Answer] = {task_id: tasks.get(task_id, absent) for task_id in task_ids}
        count = body.get("count")
        cut = len(records) >= DEFAULT_LIMIT or (isinstance(count, int) and count > len(records))
        return answers, left_out if cut else []


def _started(body: Any) -> str:
    """Return the id of the task that a submission became. Raises OutcomeUnknown where none can be asked for by it."""
    task_id = id_in(body.get("task_id")) if isinstance(body, dict) else None
    if task_id is None:
        raise ACEDATACLOUD.error(OutcomeUnknown)
    return task_id


def _split(task_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (task_ids[start : start + size] for start in range(0, len(task_ids), size))
