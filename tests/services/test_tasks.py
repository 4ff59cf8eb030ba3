"""One question about many tasks: order, joining, and what each answer cost."""

import asyncio
from collections.abc import Sequence

from app.domain.errors import BackendError, LumaError
from app.domain.freshness import Lifetimes
from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.record import GRACE_SECONDS, submitted
from app.domain.task import Answer, Effort, Task, TaskState, Video
from app.ports import Reading
from app.services.fail_open import FailOpenStore
from app.services.records import TaskRecords
from app.services.single_flight import SingleFlight
from app.services.task_cache import TaskCache
from app.services.tasks import TaskService
from tests.support.clock import HandClock
from tests.support.keeping import RECORDS, TASKS
from tests.support.stores import CountingStore
from tests.support.telemetry import Notes

A, B = Principal("tenant-a", "token-a"), Principal("tenant-b", "token-b")


class Backend:
    """A LumaGateway that answers from `known`; ids that it does not know are missing."""

    def __init__(self) -> None:
        self.known: dict[str, Task | LumaError] = {}
        self.asked: list[tuple[Principal, list[str]]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def find_tasks(self, principal: Principal, task_ids: Sequence[str]) -> Reading:
        self.asked.append((principal, list(task_ids)))
        await self.may_answer.wait()
        answers: dict[str, Answer] = {task_id: self.known.get(task_id) for task_id in task_ids}
        return Reading(answers, calls=1)

    async def submit(self, principal: Principal, command: Command) -> str:
        raise AssertionError("a question starts nothing")

    async def callback_url_of(self, principal: Principal, task_id: str, command: Command) -> str | None:
        raise NotImplementedError


class Room:
    """The services of one process over a backend and a store."""

    def __init__(self, backend: Backend, store: CountingStore, clock: HandClock) -> None:
        notes = Notes()
        before = FailOpenStore(store, notes, clock)
        lifetimes = Lifetimes(result_seconds=1000.0, pending_seconds=3.0)
        cache = TaskCache(before, TASKS, lifetimes, notes, local_tasks=100, wall_clock=clock, monotonic_clock=clock)
        self.records = TaskRecords(before, RECORDS, wall_clock=clock, monotonic_clock=clock)
        self.tasks = TaskService(backend, cache, self.records, SingleFlight())


def done(task_id: str, clock: HandClock) -> Task:
    return Task(task_id, TaskState.COMPLETED, video=Video("https://cdn.example.com/a.mp4"), finished_at=clock())


def running(task_id: str) -> Task:
    return Task(task_id, TaskState.PROCESSING)


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
    assert backend.asked[1] == (A, ["x", "a", "c"]), "only what nobody knew, with the caller's own token"


async def test_the_effort_counts_every_id_where_it_was_answered(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock), "b": running("b"), "c": done("c", clock)}
    room = Room(backend, store, clock)
    first = await room.tasks.find(A, ["a", "b"])
    assert first.effort == Effort(fetched=2, backend_calls=1)
    second = await room.tasks.find(A, ["a", "b", "c", "nobody"])
    assert second.effort == Effort(local_hits=1, shared_hits=1, fetched=2, backend_calls=1)
    third = await room.tasks.find(A, ["a", "c"])
    assert third.effort == Effort(local_hits=2)


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
    assert (await first).effort == Effort(fetched=2, backend_calls=1)
    assert (await second).effort == Effort(joined=1, fetched=1, backend_calls=1)
    assert list((await second).answers) == ["c", "b"]
    assert backend.asked == [(A, ["a", "b"]), (A, ["c"])]


async def test_two_tenants_share_nothing_in_the_air_and_nothing_afterwards(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock)}
    room = Room(backend, store, clock)
    await asyncio.gather(room.tasks.find(A, ["a"]), room.tasks.find(B, ["a"]))
    assert sorted(principal.tenant for principal, _ in backend.asked) == ["tenant-a", "tenant-b"]


async def test_a_fault_belongs_to_its_id_and_is_not_kept(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock), "b": BackendError()}
    room = Room(backend, store, clock)
    answers = (await room.tasks.find(A, ["a", "b", "c"])).answers
    assert [type(answer) for answer in answers.values()] == [Task, BackendError, type(None)]
    backend.known["b"] = done("b", clock)
    assert isinstance((await room.tasks.find(A, ["b"])).answers["b"], Task)


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
    backend.known = {"a": running("a"), "b": done("b", clock)}
    store.is_out = True
    room = Room(backend, store, clock)
    for _ in range(3):
        lookup = await room.tasks.find(A, ["a", "b"])
        assert lookup.answers == backend.known
        clock.advance(1)
    assert [task_ids for _, task_ids in backend.asked] == [["a", "b"], ["a"], ["a"]], "final tasks are kept here"


async def test_a_task_that_the_backend_does_not_show_yet_is_pending_for_a_minute(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    room, other = Room(backend, store, clock), Room(backend, store, clock)
    started = submitted("task-1", clock())
    await room.records.put_many(A.tenant, [started])
    assert (await other.tasks.find(A, ["task-1"])).answers == {"task-1": started.task}
    assert (await room.tasks.find(B, ["task-1"])).answers == {"task-1": None}
    clock.advance(GRACE_SECONDS)
    assert (await other.tasks.find(A, ["task-1"])).answers == {"task-1": None}


async def test_what_the_backend_shows_counts_more_than_what_was_submitted(clock: HandClock) -> None:
    backend = Backend()
    room = Room(backend, CountingStore(), clock)
    await room.records.put_many(A.tenant, [submitted("task-1", clock())])
    backend.known["task-1"] = running("task-1")
    assert (await room.tasks.find(A, ["task-1"])).answers == backend.known
