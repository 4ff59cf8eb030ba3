"""One question about many tasks: order, joining, and what each answer cost."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.access import Credential, Principal
from app.domain.errors import BackendError, LumaError, NoCredit, RateLimited, Unauthorized
from app.domain.freshness import CachePolicy
from app.domain.generation import Command
from app.domain.rendered import RenderedTask, TaskResult
from app.domain.snapshot import GRACE_SECONDS
from app.domain.task import Answer, LookupStats, Task, TaskState, Video
from app.mcp_server.tools.rendering import render
from app.ports.auth import Caller
from app.ports.backend import BatchResult
from app.services.limits.backend_limits import STORE_READS
from app.services.limits.fair_limiter import FairLimiter
from app.services.limits.token_status import REFUSED_SECONDS, TokenStatusCache
from app.services.tasks.access import TaskAccess
from app.services.tasks.cache import TaskCache
from app.services.tasks.circuit_breaker import FailOpenStore
from app.services.tasks.lookup import TaskService
from app.services.tasks.queued_ids import MOST_PER_TENANT, MOST_UNACCEPTED, QUESTION_WEIGHT, QueuedIds
from app.services.tasks.single_flight import SingleFlight
from app.services.tasks.snapshots import TaskSnapshots
from tests.support.backends import NoBackend
from tests.support.callers import NoCredential, caller
from tests.support.clock import HandClock
from tests.support.keeping import RECORDS, TASKS
from tests.support.rendering import just_submitted, rendered
from tests.support.stores import CountingStore
from tests.support.telemetry import Notes

A, B = caller("tenant-a", "token-a"), caller("tenant-b", "token-b")


class Backend(NoBackend):
    """A VideoBackend that answers from `known`; ids that it does not know are missing."""

    def __init__(self) -> None:
        self.known: dict[str, Task | LumaError] = {}
        self.asked: list[tuple[str, list[str]]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.sends_at_once = True

    async def find_tasks(
        self, credential: Credential, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> BatchResult:
        self.asked.append((credential.secret, list(task_ids)))
        if self.sends_at_once and on_send is not None:
            on_send()
        await self.may_answer.wait()
        answers: dict[str, Answer] = {task_id: self.known.get(task_id) for task_id in task_ids}
        return BatchResult(answers, calls=1)

    async def submit(self, credential: Credential, command: Command) -> str:
        raise AssertionError("a question starts nothing")


class NoPurchases:
    """Purchases that nobody asks for: only the members of teams are held to what they have made."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class Room:
    """The services of one process over a backend and a store."""

    def __init__(self, backend: Backend, store: CountingStore, clock: HandClock) -> None:
        notes = Notes()
        before = FailOpenStore(store, notes, clock)
        lifetimes = CachePolicy(result_seconds=1000.0, pending_seconds=3.0)
        reads = FairLimiter(STORE_READS, lambda _tenant: True)
        cache = TaskCache(
            before, TASKS, lifetimes, notes, render=render, reads=reads, local_bytes=10**6, wall_clock=clock
        )
        self.records = TaskSnapshots(before, RECORDS, render=render, wall_clock=clock, monotonic_clock=clock)
        self.token_status = TokenStatusCache(clock)
        self.queued = QueuedIds(ACEDATACLOUD, notes, clock, self.token_status.is_accepted)
        self.notes = notes
        access = TaskAccess(NoPurchases(), FairLimiter(STORE_READS, lambda _tenant: True))
        self.tasks = TaskService(backend, cache, self.records, SingleFlight(), self.token_status, self.queued, access)


def done(task_id: str, clock: HandClock) -> Task:
    return Task(task_id, TaskState.COMPLETED, video=Video("https://cdn.example.com/a.mp4"), finished_at=clock())


def running(task_id: str) -> Task:
    return Task(task_id, TaskState.PROCESSING)


def known(answers: Mapping[str, TaskResult]) -> dict[str, TaskResult]:
    """Return the answers without until when each is fresh."""
    return {
        task_id: answer._replace(fresh_until=0.0) if isinstance(answer, RenderedTask) else answer
        for task_id, answer in answers.items()
    }


async def turns() -> None:
    """Let everything run that can run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_answers_come_in_the_askers_order_and_each_id_once(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {task_id: done(task_id, clock) for task_id in "abcd"}
    room = Room(backend, store, clock)
    await room.tasks.find(A, ["b", "d"])
    lookup = await room.tasks.find(A, ["d", "x", "a", "d", "b", "x", "c"])
    assert list(lookup.answers) == ["d", "x", "a", "b", "c"]
    assert lookup.answers["x"] is None
    assert backend.asked[1] == ("token-a", ["x", "a", "c"]), "only what nobody knew, with the caller's own token"


async def test_the_effort_counts_every_id_where_it_was_answered(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock), "b": running("b"), "c": done("c", clock)}
    room = Room(backend, store, clock)
    first = await room.tasks.find(A, ["a", "b"])
    assert first.stats == LookupStats(fetched=2, backend_calls=1)
    second = await room.tasks.find(A, ["a", "b", "c", "nobody"])
    assert second.stats == LookupStats(local_hits=1, shared_hits=1, fetched=2, backend_calls=1)
    third = await room.tasks.find(A, ["a", "c"])
    assert third.stats == LookupStats(local_hits=2)


async def test_concurrent_questions_share_what_is_in_the_air(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {task_id: done(task_id, clock) for task_id in "abc"}
    backend.may_answer.clear()
    room = Room(backend, store, clock)
    first = asyncio.create_task(room.tasks.find(A, ["a", "b"]))
    await turns()
    second = asyncio.create_task(room.tasks.find(A, ["c", "b"]))
    await turns()
    backend.may_answer.set()
    assert (await first).stats == LookupStats(fetched=2, backend_calls=1)
    assert (await second).stats == LookupStats(joined=1, fetched=1, backend_calls=1)
    assert list((await second).answers) == ["c", "b"]
    assert backend.asked == [("token-a", ["a", "b"]), ("token-a", ["c"])]


async def test_two_tenants_share_nothing_in_the_air_and_nothing_afterwards(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock)}
    room = Room(backend, store, clock)
    await asyncio.gather(room.tasks.find(A, ["a"]), room.tasks.find(B, ["a"]))
    assert sorted(secret for secret, _ in backend.asked) == ["token-a", "token-b"]


async def test_a_fault_belongs_to_its_id_and_is_not_kept(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock), "b": ACEDATACLOUD.error(BackendError)}
    room = Room(backend, store, clock)
    answers = (await room.tasks.find(A, ["a", "b", "c"])).answers
    assert [type(answer) for answer in answers.values()] == [RenderedTask, BackendError, type(None)]
    backend.known["b"] = done("b", clock)
    assert isinstance((await room.tasks.find(A, ["b"])).answers["b"], RenderedTask)


async def test_a_missing_id_is_asked_for_again_each_time(clock: HandClock) -> None:
    backend = Backend()
    room = Room(backend, CountingStore(), clock)
    for _ in range(2):
        assert (await room.tasks.find(A, ["x"])).answers == {"x": None}
    assert len(backend.asked) == 2


async def test_a_cold_question_is_one_read_and_one_write_of_the_store(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {str(number): running(str(number)) for number in range(120)}
    await Room(backend, store, clock).tasks.find(A, list(backend.known))
    assert (len(store.asked), store.puts) == (1, 1)


async def test_while_the_store_is_out_every_question_is_answered(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    tasks = {"a": running("a"), "b": done("b", clock)}
    backend.known = {**tasks}
    store.is_out = True
    room = Room(backend, store, clock)
    for _ in range(3):
        lookup = await room.tasks.find(A, ["a", "b"])
        assert known(lookup.answers) == {task_id: rendered(task) for task_id, task in tasks.items()}
        clock.advance(1)
    assert [task_ids for _, task_ids in backend.asked] == [["a", "b"], ["a"], ["a"]], "final tasks are kept here"


async def test_a_task_that_the_backend_does_not_show_yet_is_pending_for_a_minute(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    room, other = Room(backend, store, clock), Room(backend, store, clock)
    started = just_submitted("task-1", clock())
    await room.records.put_many(A.principal.owner, [started])
    assert (await other.tasks.find(A, ["task-1"])).answers == {"task-1": started.task}
    assert (await room.tasks.find(B, ["task-1"])).answers == {"task-1": None}
    clock.advance(GRACE_SECONDS)
    assert (await other.tasks.find(A, ["task-1"])).answers == {"task-1": None}


async def test_what_the_backend_shows_counts_more_than_what_was_submitted(clock: HandClock) -> None:
    backend = Backend()
    room = Room(backend, CountingStore(), clock)
    await room.records.put_many(A.principal.owner, [just_submitted("task-1", clock())])
    backend.known["task-1"] = running("task-1")
    assert known((await room.tasks.find(A, ["task-1"])).answers) == {"task-1": rendered(running("task-1"))}


async def test_a_fetch_that_waits_for_its_turn_ends_with_the_last_caller(clock: HandClock) -> None:
    backend = Backend()
    backend.sends_at_once = False
    backend.may_answer.clear()
    room = Room(backend, CountingStore(), clock)
    callers = [asyncio.create_task(room.tasks.find(A, ["a", "b"])) for _ in range(3)]
    await turns()
    for one in callers[:2]:
        one.cancel()
    await turns()
    assert not room.queued.is_empty, "somebody still waits"
    callers[2].cancel()
    await turns()
    assert room.queued.is_empty
    backend.known = {"a": done("a", clock)}
    backend.may_answer.set()
    assert isinstance((await room.tasks.find(A, ["a"])).answers["a"], RenderedTask), "a later caller starts anew"


async def test_a_fetch_that_is_sent_goes_on_without_its_callers(clock: HandClock) -> None:
    backend = Backend()
    backend.known = {"a": done("a", clock)}
    backend.may_answer.clear()
    room = Room(backend, CountingStore(), clock)
    caller = asyncio.create_task(room.tasks.find(A, ["a"]))
    await turns()
    caller.cancel()
    await turns()
    backend.may_answer.set()
    await turns()
    assert (await room.tasks.find(A, ["a"])).stats == LookupStats(local_hits=1)
    assert room.queued.is_empty


async def test_ids_on_their_way_are_bounded_per_tenant_and_in_total(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend()
    backend.may_answer.clear()
    room = Room(backend, CountingStore(), clock)
    full = [str(number) for number in range(MOST_PER_TENANT - QUESTION_WEIGHT)]
    held = [asyncio.create_task(room.tasks.find(A, full))]
    await turns()
    lookup = asyncio.create_task(room.tasks.find(A, ["0", "one more"]))
    await turns()
    others = [caller(f"t{number}") for number in range(MOST_UNACCEPTED // MOST_PER_TENANT - 1)]
    held += [asyncio.create_task(room.tasks.find(other, full)) for other in others]
    rest = full[: MOST_UNACCEPTED % MOST_PER_TENANT - QUESTION_WEIGHT]
    held.append(asyncio.create_task(room.tasks.find(caller("rest"), rest)))
    await turns()
    refused = (await room.tasks.find(B, ["a"])).answers["a"]
    assert isinstance(refused, RateLimited)
    assert refused.advised_wait_seconds == 10.0
    assert room.notes.withheld == ["queue_full"] * 2
    room.token_status.accept(B.principal.subject)
    held.append(asyncio.create_task(room.tasks.find(B, ["a"])))
    await turns()
    assert len(backend.asked) == len(held), "an accepted token is not kept out by those that are not"
    assert [snapshot.levelname for snapshot in caplog.records] == ["WARNING"], "once for a burst"
    backend.may_answer.set()
    answers = (await lookup).answers
    assert answers["0"] is None, "what is on its way may be waited for"
    assert isinstance(answers["one more"], RateLimited)
    await asyncio.gather(*held)
    assert room.queued.is_empty
    assert (await room.tasks.find(B, ["a"])).answers == {"a": None}


async def test_a_refused_token_gets_nothing_from_the_cache_before_the_backend_accepts_it(clock: HandClock) -> None:
    backend = Backend()
    backend.known = {"a": done("a", clock)}
    room = Room(backend, CountingStore(), clock)
    await room.tasks.find(A, ["a"])
    room.token_status.refuse(A.principal.subject)
    assert isinstance((await room.tasks.find(A, ["a"])).answers["a"], Unauthorized)
    assert len(backend.asked) == 1
    clock.advance(REFUSED_SECONDS)
    for _ in range(3):
        assert isinstance((await room.tasks.find(A, ["a"])).answers["a"], Unauthorized)
    assert len(backend.asked) == 2, "one read in five minutes"
    room.token_status.accept(A.principal.subject)
    assert isinstance((await room.tasks.find(A, ["a"])).answers["a"], RenderedTask)
    assert len(backend.asked) == 2


async def test_a_caller_without_a_credential_gets_the_reason_for_each_id(clock: HandClock) -> None:
    backend, reason = Backend(), NoCredit("The team has no credential.")
    room = Room(backend, CountingStore(), clock)
    without = Caller(Principal("tenant-a"), NoCredential(reason))
    assert (await room.tasks.find(without, ["a", "b"])).answers == {"a": reason, "b": reason}
    assert backend.asked == []
