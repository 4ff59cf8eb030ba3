"""TaskService: order and statistics of results, joined fetches, limits and refused tokens."""

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
from app.domain.task import LookupResult, LookupStats, Task, TaskState, Video
from app.mcp_server.tools.rendering import render
from app.ports.auth import Caller
from app.ports.backend import BatchResult
from app.services.limits.backend_limits import StoreReads
from app.services.limits.caller_quota import SMALL_SHARE
from app.services.limits.token_status import REFUSED_SECONDS, TokenStatusCache
from app.services.limits.work_turns import WorkTurns
from app.services.tasks.access import TaskAccess
from app.services.tasks.cache import TaskCache
from app.services.tasks.circuit_breaker import FailOpenStore
from app.services.tasks.lookup import TaskService
from app.services.tasks.queued_ids import LOOKUP_WEIGHT, MAX_PER_TENANT, MAX_UNACCEPTED, QueuedIds
from app.services.tasks.single_flight import SingleFlight
from app.services.tasks.snapshots import TaskSnapshots
from tests.support.backends import NoBackend
from tests.support.callers import NoCredential, caller
from tests.support.clock import HandClock
from tests.support.keeping import RECORDS, TASKS
from tests.support.rendering import just_submitted, rendered
from tests.support.stores import CountingStore
from tests.support.telemetry import Notes
from tests.support.turns import database_turns

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
        answers: dict[str, LookupResult] = {task_id: self.known.get(task_id) for task_id in task_ids}
        return BatchResult(answers, calls=1)

    async def submit(self, credential: Credential, command: Command) -> str:
        raise AssertionError("a lookup submits nothing")


class NoPurchases:
    """Purchases that must not be read: access to tasks is restricted for members of teams only."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


class Services:
    """The services of one process over a backend and a store."""

    def __init__(self, backend: Backend, store: CountingStore, clock: HandClock) -> None:
        notes = Notes()
        guarded = FailOpenStore(store, notes, clock)
        policy = CachePolicy(result_seconds=1000.0, pending_seconds=3.0)
        cache = TaskCache(
            guarded,
            TASKS,
            policy,
            notes,
            render=render,
            reads=StoreReads(lambda _tenant: True),
            turns=WorkTurns(lambda _tenant: True),
            local_bytes=10**6,
            wall_clock=clock,
        )
        self.snapshots = TaskSnapshots(guarded, RECORDS, render=render, wall_clock=clock, monotonic_clock=clock)
        self.token_status = TokenStatusCache(clock)
        self.queued = QueuedIds(ACEDATACLOUD, notes, clock, self.token_status.is_accepted)
        self.notes = notes
        access = TaskAccess(NoPurchases(), database_turns())
        self.tasks = TaskService(backend, cache, self.snapshots, SingleFlight(), self.token_status, self.queued, access)


def done(task_id: str, clock: HandClock) -> Task:
    return Task(task_id, TaskState.COMPLETED, video=Video("https://cdn.example.com/a.mp4"), finished_at=clock())


def running(task_id: str) -> Task:
    return Task(task_id, TaskState.PROCESSING)


def without_expiry(answers: Mapping[str, TaskResult]) -> dict[str, TaskResult]:
    """Return the answers with `fresh_until` set to 0."""
    return {
        task_id: answer._replace(fresh_until=0.0) if isinstance(answer, RenderedTask) else answer
        for task_id, answer in answers.items()
    }


async def turns() -> None:
    """Let everything run that can run."""
    for _ in range(1000):
        await asyncio.sleep(0)


async def test_find_returns_each_id_once_in_the_order_asked(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {task_id: done(task_id, clock) for task_id in "abcd"}
    services = Services(backend, store, clock)
    await services.tasks.find(A, ["b", "d"])
    lookup = await services.tasks.find(A, ["d", "x", "a", "d", "b", "x", "c"])
    assert list(lookup.answers) == ["d", "x", "a", "b", "c"]
    assert lookup.answers["x"] is None
    assert backend.asked[1] == ("token-a", ["x", "a", "c"]), "only ids that are not cached, with the caller's own token"


async def test_stats_count_each_id_where_it_was_found(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock), "b": running("b"), "c": done("c", clock)}
    services = Services(backend, store, clock)
    first = await services.tasks.find(A, ["a", "b"])
    assert first.stats == LookupStats(fetched=2, backend_calls=1)
    second = await services.tasks.find(A, ["a", "b", "c", "nobody"])
    assert second.stats == LookupStats(local_hits=1, shared_hits=1, fetched=2, backend_calls=1)
    third = await services.tasks.find(A, ["a", "c"])
    assert third.stats == LookupStats(local_hits=2)


async def test_concurrent_lookups_share_fetches_in_flight(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {task_id: done(task_id, clock) for task_id in "abc"}
    backend.may_answer.clear()
    services = Services(backend, store, clock)
    first = asyncio.create_task(services.tasks.find(A, ["a", "b"]))
    await turns()
    second = asyncio.create_task(services.tasks.find(A, ["c", "b"]))
    await turns()
    backend.may_answer.set()
    assert (await first).stats == LookupStats(fetched=2, backend_calls=1)
    assert (await second).stats == LookupStats(joined=1, fetched=1, backend_calls=1)
    assert list((await second).answers) == ["c", "b"]
    assert backend.asked == [("token-a", ["a", "b"]), ("token-a", ["c"])]


async def test_two_tenants_share_neither_fetches_nor_results(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock)}
    services = Services(backend, store, clock)
    await asyncio.gather(services.tasks.find(A, ["a"]), services.tasks.find(B, ["a"]))
    assert sorted(secret for secret, _ in backend.asked) == ["token-a", "token-b"]


async def test_an_error_is_the_result_of_its_id_only_and_is_not_cached(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {"a": done("a", clock), "b": ACEDATACLOUD.error(BackendError)}
    services = Services(backend, store, clock)
    answers = (await services.tasks.find(A, ["a", "b", "c"])).answers
    assert [type(answer) for answer in answers.values()] == [RenderedTask, BackendError, type(None)]
    backend.known["b"] = done("b", clock)
    assert isinstance((await services.tasks.find(A, ["b"])).answers["b"], RenderedTask)


async def test_an_unknown_id_is_read_again_each_time(clock: HandClock) -> None:
    backend = Backend()
    services = Services(backend, CountingStore(), clock)
    for _ in range(2):
        assert (await services.tasks.find(A, ["x"])).answers == {"x": None}
    assert len(backend.asked) == 2


async def test_a_lookup_without_hits_is_one_read_and_one_write_of_the_store(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    backend.known = {str(number): running(str(number)) for number in range(120)}
    await Services(backend, store, clock).tasks.find(A, list(backend.known))
    assert (len(store.asked), store.puts) == (1, 1)


async def test_lookups_succeed_while_the_store_is_unavailable(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    tasks = {"a": running("a"), "b": done("b", clock)}
    backend.known = {**tasks}
    store.is_out = True
    services = Services(backend, store, clock)
    for _ in range(3):
        lookup = await services.tasks.find(A, ["a", "b"])
        assert without_expiry(lookup.answers) == {task_id: rendered(task) for task_id, task in tasks.items()}
        clock.advance(1)
    assert [task_ids for _, task_ids in backend.asked] == [["a", "b"], ["a"], ["a"]], (
        "final tasks are cached in the process"
    )


async def test_a_submitted_task_unknown_to_the_backend_is_pending_for_a_minute(clock: HandClock) -> None:
    backend, store = Backend(), CountingStore()
    services, other = Services(backend, store, clock), Services(backend, store, clock)
    started = just_submitted("task-1", clock())
    await services.snapshots.put_many(A.principal.owner, [started])
    assert (await other.tasks.find(A, ["task-1"])).answers == {"task-1": started.task}
    assert (await services.tasks.find(B, ["task-1"])).answers == {"task-1": None}
    clock.advance(GRACE_SECONDS)
    assert (await other.tasks.find(A, ["task-1"])).answers == {"task-1": None}


async def test_the_state_at_the_backend_replaces_the_pending_state(clock: HandClock) -> None:
    backend = Backend()
    services = Services(backend, CountingStore(), clock)
    await services.snapshots.put_many(A.principal.owner, [just_submitted("task-1", clock())])
    backend.known["task-1"] = running("task-1")
    assert without_expiry((await services.tasks.find(A, ["task-1"])).answers) == {"task-1": rendered(running("task-1"))}


async def test_a_fetch_not_yet_sent_is_cancelled_with_its_last_caller(clock: HandClock) -> None:
    backend = Backend()
    backend.sends_at_once = False
    backend.may_answer.clear()
    services = Services(backend, CountingStore(), clock)
    callers = [asyncio.create_task(services.tasks.find(A, ["a", "b"])) for _ in range(3)]
    await turns()
    for one in callers[:2]:
        one.cancel()
    await turns()
    assert not services.queued.is_empty, "one caller still waits"
    callers[2].cancel()
    await turns()
    assert services.queued.is_empty
    backend.known = {"a": done("a", clock)}
    backend.may_answer.set()
    assert isinstance((await services.tasks.find(A, ["a"])).answers["a"], RenderedTask), (
        "a later caller starts a new fetch"
    )


async def test_a_fetch_already_sent_continues_without_its_callers(clock: HandClock) -> None:
    backend = Backend()
    backend.known = {"a": done("a", clock)}
    backend.may_answer.clear()
    services = Services(backend, CountingStore(), clock)
    caller = asyncio.create_task(services.tasks.find(A, ["a"]))
    await turns()
    caller.cancel()
    await turns()
    backend.may_answer.set()
    await turns()
    assert (await services.tasks.find(A, ["a"])).stats == LookupStats(local_hits=1)
    assert services.queued.is_empty


async def test_queued_ids_are_limited_per_tenant_and_in_total(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend()
    backend.may_answer.clear()
    services = Services(backend, CountingStore(), clock)
    full = [str(number) for number in range(MAX_PER_TENANT - LOOKUP_WEIGHT)]
    held = [asyncio.create_task(services.tasks.find(A, full))]
    await turns()
    lookup = asyncio.create_task(services.tasks.find(A, ["0", "one more"]))
    await turns()
    large, small = MAX_UNACCEPTED * 3 // 4 - MAX_PER_TENANT, MAX_PER_TENANT // SMALL_SHARE
    weights = [large] + [small] * (MAX_UNACCEPTED // 4 // small) + [MAX_UNACCEPTED // 4 % small]
    for number, weight in enumerate(weights):
        find = services.tasks.find(caller(f"t{number}"), full[: weight - LOOKUP_WEIGHT])
        held.append(asyncio.create_task(find))
    await turns()
    refused = (await services.tasks.find(B, ["a"])).answers["a"]
    assert isinstance(refused, RateLimited)
    assert refused.advised_wait_seconds == 10.0
    assert services.notes.withheld == ["queue_full"] * 2
    services.token_status.accept(B.principal.subject)
    held.append(asyncio.create_task(services.tasks.find(B, ["a"])))
    await turns()
    assert len(backend.asked) == len(held), "unaccepted tokens do not use up the limit for accepted ones"
    assert [record.levelname for record in caplog.records] == ["WARNING"], "one line for all refusals"
    backend.may_answer.set()
    answers = (await lookup).answers
    assert answers["0"] is None, "a fetch in flight may still be joined"
    assert isinstance(answers["one more"], RateLimited)
    await asyncio.gather(*held)
    assert services.queued.is_empty
    assert (await services.tasks.find(B, ["a"])).answers == {"a": None}


async def test_cached_results_are_withheld_until_the_backend_accepts_the_token_again(clock: HandClock) -> None:
    backend = Backend()
    backend.known = {"a": done("a", clock)}
    services = Services(backend, CountingStore(), clock)
    await services.tasks.find(A, ["a"])
    services.token_status.refuse(A.principal.subject)
    assert isinstance((await services.tasks.find(A, ["a"])).answers["a"], Unauthorized)
    assert len(backend.asked) == 1
    clock.advance(REFUSED_SECONDS)
    for _ in range(3):
        assert isinstance((await services.tasks.find(A, ["a"])).answers["a"], Unauthorized)
    assert len(backend.asked) == 2, "at most one check in five minutes"
    services.token_status.accept(A.principal.subject)
    assert isinstance((await services.tasks.find(A, ["a"])).answers["a"], RenderedTask)
    assert len(backend.asked) == 2


async def test_the_error_for_a_missing_credential_is_the_result_of_each_id(clock: HandClock) -> None:
    backend, reason = Backend(), NoCredit("The team has no credential.")
    services = Services(backend, CountingStore(), clock)
    without = Caller(Principal("tenant-a"), NoCredential(reason))
    assert (await services.tasks.find(without, ["a", "b"])).answers == {"a": reason, "b": reason}
    assert backend.asked == []
