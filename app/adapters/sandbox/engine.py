"""The state and the rules of the sandbox, without HTTP."""

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
    MODERATED,
    NO_CREDIT,
    NO_SOURCE,
    TOO_MANY_AT_ONCE,
    TOO_MANY_READS,
    Refused,
)
from app.adapters.sandbox.submission import Submission
from app.adapters.sandbox.tasks import Course, Record, Size, Wire, course_of, size_of, wire_record, words_in

RECORDS_KEPT = 100_000
"""Enough for any try-out or benchmark."""

RECORDS_BYTES = 96 * 1024 * 1024
"""How much the records may take together, with their requests, which are echoed whole."""

RECORD_BYTES = 1_200
"""Memory of a record beside its request: two ids that are keys, two URLs, and objects."""

ACCOUNTS_KEPT = 10_000
"""How many tokens are remembered; a forgotten one starts anew."""

READS_KEPT = 10_000
READS_BYTES = 8 * 1024 * 1024
"""For how many reads the ids are remembered, and how much they may take together."""

_TEXT_BYTES = 64
"""Memory of a short text beside its characters."""


@dataclass(slots=True)
class Sandbox:
    """One AceDataCloud of our own, alive as long as the process.

    `seconds` is how long a generation takes. `clock` gives unix seconds and is the only source of time: a record's
    state follows from it, nothing runs in the background but callbacks. `sleep` waits for requests that are held and
    for callbacks. `deliver` posts a callback; without it callback URLs only make a request asynchronous.
    `records_kept` is how many generations are remembered, and `records_bytes` how much they may take; the oldest are
    forgotten first.
    """

    seconds: float
    media_url: str
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    behaviour: Behaviour = DOCUMENTED
    deliver: Deliver | None = None
    records_kept: int = RECORDS_KEPT
    records_bytes: int = RECORDS_BYTES

    reads: int = field(default=0, init=False)
    """How many calls of /luma/tasks arrived with a token, refused ones included."""

    read_ids: deque[tuple[str, ...]] = field(default_factory=deque, init=False)
    """The ids that each of the latest reads asked for, oldest read first; refused reads leave nothing here."""

    callbacks: Callbacks = field(default_factory=Callbacks, init=False)
    _records: dict[str, Record] = field(default_factory=dict, init=False)
    _videos: dict[str, Record] = field(default_factory=dict, init=False)
    _accounts: dict[bytes, Account] = field(default_factory=dict, init=False)
    _accepted: int = field(default=0, init=False)
    _records_size: int = field(default=0, init=False)
    _reads_size: int = field(default=0, init=False)

    def submissions(self, token: str) -> int:
        """Return how many calls of /luma/videos arrived with `token`, refused ones included."""
        return self._account(token).submissions

    def credits(self, token: str) -> float:
        """Return how many credits `token` has spent by now."""
        return self._account(token).spent_credits(self.clock())

    def submit(self, token: str, body: Wire | None) -> tuple[Submission, Record]:
        """Accept a body of /luma/videos (None: no JSON object) or raise `Refused`.

        The order of the checks is rate, balance, form, moderation: likely, but not documented.
        """
        now, account = self.clock(), self._account(token)
        account.submissions += 1
        words = words_in((body or {}).get("prompt"))
        self._check_account(account, words, now)
        submission = Submission.of(body)
        size = self._size(submission, now)
        if "[refuse]" in words:
            raise Refused(MODERATED)
        record = self._record(account, body or {}, size, course_of(submission, now, self.seconds))
        self._keep(record)
        account.runs(record)
        return submission, record

    def read(self, token: str, body: Wire | None) -> Wire:
        """Answer a body of /luma/tasks (None: no JSON object) or raise `Refused`.

        Any token may read a task by its id: AceDataCloud documents no other rule.
        """
        self.reads += 1
        now = self.clock()
        if not self._account(token).admits_read(now, self.behaviour.reads_per_second):
            raise Refused(TOO_MANY_READS)
        if body is None or body.get("action") not in (None, "retrieve", "retrieve_batch"):
            raise Refused(BAD_REQUEST)
        return self._batch(body, now) if body.get("action") == "retrieve_batch" else self._one(body.get("id"), now)

    async def until_ended(self, record: Record) -> None:
        """Wait until the generation has come to its end."""
        while (left_seconds := record.finished_at - self.clock()) > 0:
            await self.sleep(left_seconds)

    def media_is_gone(self, name: str) -> bool:
        """Whether the files of the task `name` have outlived their time; False for names that are not known."""
        life, record = self.behaviour.media_life_seconds, self._records.get(name)
        return life is not None and record is not None and self.clock() - record.finished_at >= life

    def _account(self, token: str) -> Account:
        key = hashlib.sha256(token.encode(errors="surrogateescape")).digest()  # a token may have any length
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
            if len(self._accounts) > ACCOUNTS_KEPT:
                del self._accounts[next(iter(self._accounts))]
        return account

    def _check_account(self, account: Account, words: frozenset[str], now: float) -> None:
        limit = self.behaviour.max_in_flight
        if limit is not None and account.in_flight(now) >= limit:
            raise Refused(TOO_MANY_AT_ONCE)
        if "[broke]" in words:
            raise Refused(NO_CREDIT)

    def _size(self, submission: Submission, now: float) -> Size:
        if not submission.extends:
            return size_of(submission)
        source = self._videos.get(submission.source or "")
        if source is None or not source.has_succeeded(now):
            raise Refused(NO_SOURCE)
        return source.size

    def _record(self, account: Account, request: Wire, size: Size, course: Course) -> Record:
        created_at, started_at, finished_at = course.times
        self._accepted += 1
        return Record(
            number=self._accepted,
            owner=account.owner,
            request=request,
            size=size,
            created_at=created_at,
            started_at=started_at,
            finished_at=finished_at,
            fault=course.fault,
            media_url=self.media_url,
        )

    def _keep(self, record: Record) -> None:
        self._records[record.task_id] = record
        self._videos[record.video_id] = self._videos[record.video_url] = record
        self._records_size += _size_of(record)
        while len(self._records) > self.records_kept or self._records_size > self.records_bytes:
            self._forget(next(iter(self._records)))

    def _forget(self, task_id: str) -> None:
        record = self._records.pop(task_id)
        del self._videos[record.video_id], self._videos[record.video_url]
        self._records_size -= _size_of(record)

    def _note_read(self, ids: tuple[str, ...]) -> None:
        self.read_ids.append(ids)
        self._reads_size += _size_of_texts(ids)
        while len(self.read_ids) > READS_KEPT or self._reads_size > READS_BYTES:
            self._reads_size -= _size_of_texts(self.read_ids.popleft())

    def _one(self, task_id: Any, now: float) -> Wire:
        found = self._find([task_id], now)
        return wire_record(found[0], now, self.behaviour.pending) if found else {}

    def _batch(self, body: Wire, now: float) -> Wire:
        ids = body.get("ids")
        found = self._find(ids if isinstance(ids, list) else (), now)
        found.sort(key=lambda record: record.number, reverse=self.behaviour.newest_first)
        start = _count(body.get("offset"), otherwise=0)
        limit = self.behaviour.batch_limit
        if self.behaviour.honours_limit:
            limit = _count(body.get("limit"), otherwise=limit)
        items = [wire_record(record, now, self.behaviour.pending) for record in found[start : start + limit]]
        return {"items": items, "count": len(found)}

    def _find(self, ids: Iterable[Any], now: float) -> list[Record]:
        wanted = tuple(task_id for task_id in ids if isinstance(task_id, str))
        self._note_read(wanted)
        newest = now - self.behaviour.hidden_seconds
        known = (self._records.get(task_id) for task_id in dict.fromkeys(wanted))
        return [record for record in known if record is not None and record.created_at <= newest]


def _size_of(record: Record) -> int:
    """Return about how many bytes the record takes; its request never changes, so this never does."""
    try:
        return RECORD_BYTES + 2 * len(json.dumps(record.request))
    except RecursionError:
        return 64 * 1024  # nested as deep as a parser lets it be, some hundred levels


def _size_of_texts(texts: tuple[str, ...]) -> int:
    return sum(_TEXT_BYTES + len(text) for text in texts)


def _count(value: Any, *, otherwise: int) -> int:
    return value if type(value) is int and value > 0 else otherwise
