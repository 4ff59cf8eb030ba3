"""The sandbox's state and rules, without HTTP."""

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from app.adapters.sandbox.account import Account
from app.adapters.sandbox.behaviour import DOCUMENTED, Behaviour
from app.adapters.sandbox.callbacks import Callbacks, Deliver
from app.adapters.sandbox.faults import (
    BAD_REQUEST,
    CREDIT_USED_UP,
    MODERATED,
    NO_SOURCE_VIDEO,
    TOO_MANY_GENERATIONS,
    TOO_MANY_READS,
    Refused,
)
from app.adapters.sandbox.submission import Submission
from app.adapters.sandbox.tasks import (
    Course,
    JsonObject,
    Record,
    Size,
    course_of,
    prompt_words_in,
    record_body,
    size_of,
)

RECORDS_KEPT = 100_000
"""Default number of records; enough for any trial or benchmark."""

MAX_RECORDS_BYTES = 96 * 1024 * 1024
"""Default limit for the memory of all records, including their requests, which are echoed completely."""

RECORD_OVERHEAD_BYTES = 1_200
"""Estimated memory of a record without its request: two ids that are keys, two URLs, and objects."""

ACCOUNTS_KEPT = 10_000
"""Maximum number of tokens with an account.

Above this number, the oldest account is dropped; its token then gets a new account.
"""

READS_KEPT = 10_000
MAX_READS_BYTES = 8 * 1024 * 1024
"""Maximum number of reads in `Sandbox.read_ids`, and the limit for their estimated memory."""

_TEXT_OVERHEAD_BYTES = 64
"""Estimated memory of a short string beside its characters."""


@dataclass(slots=True)
class Sandbox:
    """A simulated AceDataCloud in memory. Only callbacks run in the background.

    Attributes:
        seconds: duration of a generation.
        media_url: the beginning of the files' URLs, without a trailing slash.
        clock: returns Unix seconds; the states of all tasks follow from it.
        sleep: waits a number of seconds, for synchronous requests and callbacks.
        behaviour: the options for undocumented behaviour.
        deliver: posts a callback; if None, a callback URL only makes a request asynchronous.
        records_kept: maximum number of generations in memory; the oldest are dropped first.
        records_bytes: limit for the estimated memory of all generations; the oldest are dropped first.

    """

    seconds: float
    media_url: str
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    behaviour: Behaviour = DOCUMENTED
    deliver: Deliver | None = None
    records_kept: int = RECORDS_KEPT
    records_bytes: int = MAX_RECORDS_BYTES

    reads: int = field(default=0, init=False)
    """Number of requests to /luma/tasks with a token, including refused ones."""

    read_ids: deque[tuple[str, ...]] = field(default_factory=deque, init=False)
    """The requested ids of each recent read, oldest read first, without refused reads."""

    callbacks: Callbacks = field(default_factory=Callbacks, init=False)
    _records: dict[str, Record] = field(default_factory=dict, init=False)
    _videos: dict[str, Record] = field(default_factory=dict, init=False)
    """The records by video id, and again by video URL."""
    _accounts: dict[bytes, Account] = field(default_factory=dict, init=False)
    _accepted: int = field(default=0, init=False)
    """Number of accepted submissions, which is the number of the newest record."""
    _records_size: int = field(default=0, init=False)
    """Estimated memory of `_records` in bytes."""
    _reads_size: int = field(default=0, init=False)
    """Estimated memory of `read_ids` in bytes."""

    def submissions(self, token: str) -> int:
        """Return the number of requests to /luma/videos with `token`, including refused ones."""
        return self._account(token).submissions

    def credits(self, token: str) -> float:
        """Return the credits that `token` has spent."""
        return self._account(token).spent_credits(self.clock())

    def submit(self, token: str, body: JsonObject | None) -> tuple[Submission, Record]:
        """Start a generation for a body of /luma/videos (None: not a JSON object). Raises Refused.

        The order of the checks (concurrency, credit, validity, moderation) is likely, but not documented.
        """
        now, account = self.clock(), self._account(token)
        account.submissions += 1
        words = prompt_words_in((body or {}).get("prompt"))
        self._check_limits(account, words, now)
        submission = Submission.of(body)
        size = self._video_size(submission, now)
        if "[refuse]" in words:
            raise Refused(MODERATED)
        record = self._new_record(account, body or {}, size, course_of(submission, now, self.seconds))
        self._add_record(record)
        account.add_generation(record)
        return submission, record

    def read(self, token: str, body: JsonObject | None) -> JsonObject:
        """Return the response to a body of /luma/tasks (None: not a JSON object). Raises Refused.

        Any token may read any task by its id: AceDataCloud documents no other rule.
        """
        self.reads += 1
        now = self.clock()
        if not self._account(token).admit_read(now, self.behaviour.reads_per_second):
            raise Refused(TOO_MANY_READS)
        if body is None or body.get("action") not in (None, "retrieve", "retrieve_batch"):
            raise Refused(BAD_REQUEST)
        is_batch = body.get("action") == "retrieve_batch"
        return self._retrieve_batch(body, now) if is_batch else self._retrieve(body.get("id"), now)

    async def wait_until_ended(self, record: Record) -> None:
        """Wait until the generation has succeeded or failed."""
        while (remaining_seconds := record.finished_at - self.clock()) > 0:
            await self.sleep(remaining_seconds)

    def media_is_gone(self, task_id: str) -> bool:
        """Return whether the files of a task have expired; False for unknown ids."""
        life, record = self.behaviour.media_life_seconds, self._records.get(task_id)
        return life is not None and record is not None and self.clock() - record.finished_at >= life

    def _account(self, token: str) -> Account:
        key = hashlib.sha256(token.encode(errors="surrogateescape")).digest()  # tokens may have any length
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
            if len(self._accounts) > ACCOUNTS_KEPT:
                del self._accounts[next(iter(self._accounts))]
        return account

    def _check_limits(self, account: Account, words: frozenset[str], now: float) -> None:
        limit = self.behaviour.max_in_flight
        if limit is not None and account.in_flight(now) >= limit:
            raise Refused(TOO_MANY_GENERATIONS)
        if "[broke]" in words:
            raise Refused(CREDIT_USED_UP)

    def _video_size(self, submission: Submission, now: float) -> Size:
        if not submission.is_extension:
            return size_of(submission)
        source = self._videos.get(submission.source_video or "")
        if source is None or not source.has_succeeded(now):
            raise Refused(NO_SOURCE_VIDEO)
        return source.size

    def _new_record(self, account: Account, request: JsonObject, size: Size, course: Course) -> Record:
        created_at, started_at, finished_at = course.times
        self._accepted += 1
        return Record(
            number=self._accepted,
            account_ids=account.ids,
            request=request,
            size=size,
            created_at=created_at,
            started_at=started_at,
            finished_at=finished_at,
            fault=course.fault,
            media_url=self.media_url,
        )

    def _add_record(self, record: Record) -> None:
        self._records[record.task_id] = record
        self._videos[record.video_id] = self._videos[record.video_url] = record
        self._records_size += _estimated_bytes(record)
        while len(self._records) > self.records_kept or self._records_size > self.records_bytes:
            self._drop_record(next(iter(self._records)))

    def _drop_record(self, task_id: str) -> None:
        record = self._records.pop(task_id)
        del self._videos[record.video_id], self._videos[record.video_url]
        self._records_size -= _estimated_bytes(record)

    def _record_read(self, ids: tuple[str, ...]) -> None:
        self.read_ids.append(ids)
        self._reads_size += _estimated_text_bytes(ids)
        while len(self.read_ids) > READS_KEPT or self._reads_size > MAX_READS_BYTES:
            self._reads_size -= _estimated_text_bytes(self.read_ids.popleft())

    def _retrieve(self, task_id: Any, now: float) -> JsonObject:
        records = self._find([task_id], now)
        return record_body(records[0], now, self.behaviour.pending) if records else {}

    def _retrieve_batch(self, body: JsonObject, now: float) -> JsonObject:
        ids = body.get("ids")
        records = self._find(ids if isinstance(ids, list) else (), now)
        records.sort(key=lambda record: record.number, reverse=self.behaviour.newest_first)
        start = _positive_int(body.get("offset"), default=0)
        limit = self.behaviour.batch_limit
        if self.behaviour.honours_limit:
            limit = _positive_int(body.get("limit"), default=limit)
        items = [record_body(record, now, self.behaviour.pending) for record in records[start : start + limit]]
        return {"items": items, "count": len(records)}

    def _find(self, ids: Iterable[Any], now: float) -> list[Record]:
        requested = tuple(task_id for task_id in ids if isinstance(task_id, str))
        self._record_read(requested)
        visible_until = now - self.behaviour.hidden_seconds
        known = (self._records.get(task_id) for task_id in dict.fromkeys(requested))
        return [record for record in known if record is not None and record.created_at <= visible_until]


def _estimated_bytes(record: Record) -> int:
    """Return the estimated memory of a record. It is constant, because the request does not change."""
    try:
        return RECORD_OVERHEAD_BYTES + 2 * len(json.dumps(record.request))
    except RecursionError:
        return 64 * 1024  # a request nested as deeply as the parser allows, some hundred levels


def _estimated_text_bytes(texts: tuple[str, ...]) -> int:
    return sum(_TEXT_OVERHEAD_BYTES + len(text) for text in texts)


def _positive_int(value: Any, *, default: int) -> int:
    return value if type(value) is int and value > 0 else default
