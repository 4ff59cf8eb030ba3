"""The VideoBackend for AceDataCloud: reads tasks in batches, matches records to ids, and submits generations."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from app.adapters.acedata.client import AceDataClient, CallCounter
from app.adapters.acedata.policy import ACEDATACLOUD, NAME
from app.adapters.acedata.sender import ResponseTooLarge
from app.adapters.acedata.wire import (
    callback_url_in,
    echo_matches,
    records_in,
    retrieve_payload,
    submission_payload,
    task_id_in,
    tasks_in,
    valid_id,
)
from app.domain.access import Credential
from app.domain.backend import BackendDescription
from app.domain.errors import BackendError, BackendTimeout, LumaError, OutcomeUnknown
from app.domain.generation import Command
from app.domain.task import LookupResult
from app.ports.backend import BatchResult, CallbackReport, Health

IDS_PER_CALL = 50
"""Maximum number of ids in one call. Source: the recommendation of AceDataCloud's own MCP server."""

DEFAULT_LIMIT = 12
"""Maximum number of records in a response if AceDataCloud ignores `limit`.

Source: the documentation of its sibling services.
"""

VIDEOS_PATH = "/luma/videos"
TASKS_PATH = "/luma/tasks"

MAX_RECORDS_PER_ID = 4
"""Maximum number of records in a response for each requested id.

AceDataCloud may repeat records; more than this is an error.
"""

MAX_SPLITS = 16
"""Maximum number of times that one batch read may halve its ids, which it does after a response that is too large.

Isolating one record of fifty takes six halvings.
"""

LOOKUP_FAILED = (
    "The outcome of an earlier call with this `idempotency_key` could not be read from AceDataCloud. This call "
    "submitted nothing: try again shortly with the same key."
)

_PRIVATE_COMMAND_FIELDS = ("prompt", "start_image_url", "end_image_url", "video_url", "video_id", "callback_url")
"""Fields of a command that no error message may quote."""


class AceDataBackend:
    """The VideoBackend that uses AceDataCloud's two Luma endpoints."""

    def __init__(
        self,
        client: AceDataClient,
        wall_clock: Callable[[], float],
        *,
        description: BackendDescription = ACEDATACLOUD,
        own_media_url: str | None = None,
    ) -> None:
        """Own `client`, which is closed on exit. `wall_clock` returns Unix seconds.

        `own_media_url` is the URL prefix of videos that this service serves itself. It is set in the sandbox only.
        """
        self.description = description
        self._client = client
        self._own_media_url = own_media_url
        self._wall_clock = wall_clock

    async def __aenter__(self) -> Self:
        """Return the backend. It connects with its first call."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def find_tasks(
        self, credential: Credential, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> BatchResult:
        """Read the tasks in concurrent chunks. The error of a chunk is the result for each of its ids.

        `on_send` is called just before each call is sent.
        """
        call_counter = CallCounter(on_send)
        chunks = [self._read_chunk(credential, chunk, call_counter) for chunk in _split(task_ids, IDS_PER_CALL)]
        results: dict[str, LookupResult] = {}
        for chunk_results in await asyncio.gather(*chunks):
            results |= chunk_results
        return BatchResult(results, call_counter.calls)

    async def submit(self, credential: Credential, command: Command) -> str:
        """Start a generation and return its task id. Raises LumaError: OutcomeUnknown if it may have been started."""
        private = tuple(filter(None, (getattr(command, name, None) for name in _PRIVATE_COMMAND_FIELDS)))
        return await self._client.send_once(
            VIDEOS_PATH, credential, submission_payload(command), private, _submitted_id
        )

    async def find_by_callback(
        self,
        credential: Credential,
        command: Command,
        reported_ids: Sequence[str],
        is_purchase_callback: Callable[[str], bool],
    ) -> str | None:
        """Return the first of `reported_ids` whose record belongs to the purchase; None if no record does.

        The ids come from callbacks, which anybody may forge. The record of the purchase echoes `command` and a callback
        URL that satisfies `is_purchase_callback`. The records are read one after another. Raises LumaError if no record
        belongs to the purchase and a read failed.
        """
        error: LumaError | None = None
        for task_id in reported_ids:
            try:
                url = await self._callback_url_of(credential, task_id, command)
            except LumaError as exc:  # a forged id whose read fails must not hide the genuine id
                error = exc
                continue
            if url is not None and is_purchase_callback(url):
                return task_id
        if error is not None:
            raise error
        return None

    def parse_callback(self, body: bytes) -> CallbackReport | None:
        """Return the task id in a callback's body, or None. The rest is ignored, because callbacks are not signed."""
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return None
        task_id = valid_id(content.get("task_id")) if isinstance(content, dict) else None
        return CallbackReport(task_id) if task_id is not None else None

    async def check(self, seconds: float) -> Health:
        """Send a call without a token, with a timeout of `seconds`, and return whether the response is good.

        Good is any status below 500 except 404, which suggests a wrong base URL.
        """
        host = urlsplit(self.description.address or "").netloc.rpartition("@")[2]
        try:
            status = await self._client.probe(TASKS_PATH, seconds)
        except httpx.HTTPError as exc:
            return Health(is_good=False, words=f"{host} does not answer ({type(exc).__name__})")
        if status == httpx.codes.NOT_FOUND:
            words = f"{host} answers, but not as {NAME} does (HTTP 404): is LUMA_MCP_ACEDATA_URL right?"
            return Health(is_good=False, words=words)
        is_good = status < httpx.codes.INTERNAL_SERVER_ERROR
        return Health(
            is_good=is_good,
            words=f"{host} {'answers' if is_good else 'is in trouble'} (HTTP {status} to a call without a token)",
        )

    async def _callback_url_of(self, credential: Credential, task_id: str, command: Command) -> str | None:
        """Return the callback URL that the task's record echoes.

        Return None if there is no such record or URL, or if other echoed fields differ from `command`.
        """

        def callback_url(body: Any) -> str | None:
            records = (record for record in records_in(body) or () if record.get("id") == task_id)
            return next((callback_url_in(record) for record in records if echo_matches(record, command)), None)

        try:
            return await self._client.read(
                TASKS_PATH, credential, retrieve_payload([task_id]), CallCounter(), callback_url
            )
        except (BackendError, BackendTimeout) as exc:
            raise type(exc)(LOOKUP_FAILED, retry_after_seconds=exc.retry_after_seconds) from None

    async def _read_chunk(
        self, credential: Credential, task_ids: Sequence[str], call_counter: CallCounter
    ) -> dict[str, LookupResult]:
        results, ids_to_reread = await self._read_ids(credential, task_ids, call_counter)
        if not ids_to_reread:
            return results
        rereads = [self._read_ids(credential, chunk, call_counter) for chunk in _split(ids_to_reread, DEFAULT_LIMIT)]
        for reread_results, _ in await asyncio.gather(*rereads):
            results |= reread_results
        return results

    async def _read_ids(
        self, credential: Credential, task_ids: Sequence[str], call_counter: CallCounter
    ) -> tuple[dict[str, LookupResult], list[str]]:
        """Read the ids, in halves if the response is too large.

        Return the result for each id, and the ids to read again. An id is read again if a response that may be
        incomplete has no record of it.
        """

        def reconciled(body: Any) -> tuple[dict[str, LookupResult], list[str]]:
            return self._reconcile(credential, task_ids, body)

        try:
            return await self._client.read(TASKS_PATH, credential, retrieve_payload(task_ids), call_counter, reconciled)
        except ResponseTooLarge:
            if len(task_ids) == 1 or call_counter.splits >= MAX_SPLITS:
                return dict.fromkeys(task_ids, ACEDATACLOUD.error(BackendError)), []
        except LumaError as exc:
            return dict.fromkeys(task_ids, exc), []
        return await self._read_in_halves(credential, task_ids, call_counter)

    async def _read_in_halves(
        self, credential: Credential, task_ids: Sequence[str], call_counter: CallCounter
    ) -> tuple[dict[str, LookupResult], list[str]]:
        """Read each half of the ids, because the response for all of them is too large."""
        call_counter.splits += 1
        halves = _split(task_ids, (len(task_ids) + 1) // 2)
        (results, ids_to_reread), (more_results, more_ids_to_reread) = await asyncio.gather(
            *(self._read_ids(credential, half, call_counter) for half in halves)
        )
        return results | more_results, ids_to_reread + more_ids_to_reread

    def _reconcile(
        self, credential: Credential, task_ids: Sequence[str], body: Any
    ) -> tuple[dict[str, LookupResult], list[str]]:
        """Match records to ids. Return the same as `_read_ids`.

        AceDataCloud may reorder, repeat or omit records, or return those of other ids. The result for an id without a
        record is None (not found), or a BackendError if there are records of other ids, or only unusable ones.
        """
        records = records_in(body)
        if records is None or len(records) > MAX_RECORDS_PER_ID * len(task_ids):
            return dict.fromkeys(task_ids, ACEDATACLOUD.error(BackendError)), []
        found_ids, requested = [task_id_in(record) for record in records], {*task_ids}
        matching = [record for record, task_id in zip(records, found_ids, strict=True) if task_id in requested]
        tasks = tasks_in(matching, self._wall_clock(), self._own_media_url, token=credential.secret)
        missing = [task_id for task_id in task_ids if task_id not in tasks]
        is_unreliable = not {*found_ids} - {None} <= requested or (records and not tasks)
        result_if_missing: LookupResult = ACEDATACLOUD.error(BackendError) if is_unreliable else None
        results: dict[str, LookupResult] = {task_id: tasks.get(task_id, result_if_missing) for task_id in task_ids}
        count, items = body.get("count"), body.get("items", records)  # `items` has empty objects for unknown ids
        may_be_incomplete = len(items) >= DEFAULT_LIMIT or (isinstance(count, int) and count > len(items))
        return results, missing if may_be_incomplete else []


def _submitted_id(body: Any) -> str:
    """Return the task id in the response to a submission. Raises OutcomeUnknown if there is no valid one."""
    task_id = valid_id(body.get("task_id")) if isinstance(body, dict) else None
    if task_id is None:
        raise ACEDATACLOUD.error(OutcomeUnknown)
    return task_id


def _split(task_ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (task_ids[start : start + size] for start in range(0, len(task_ids), size))
