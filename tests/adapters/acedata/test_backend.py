"""Batch reads from AceDataCloud: chunks, incomplete responses, and errors that affect only their own ids."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.adapters.acedata.backend import DEFAULT_LIMIT, IDS_PER_CALL, MAX_SPLITS
from app.adapters.acedata.policy import GENERATIONS_AT_ONCE
from app.domain.access import Credential
from app.domain.errors import BackendError, BackendTimeout, InvalidRequest, LumaError, Unauthorized
from app.domain.task import Task
from app.ports.backend import BatchResult
from app.services.limits.backend_limits import READS, BackendLimits
from tests.support.acedata import (
    CREDENTIAL,
    NOW,
    QUICK,
    Backend,
    adapter_over,
    breaking,
    completed,
    error_reply,
    finding_every_task,
    hanging,
    listing,
    replying,
)


def task_ids_up_to(count: int) -> list[str]:
    return [f"task-{number}" for number in range(count)]


async def find_tasks_over(backend: Backend, task_ids: Sequence[str]) -> BatchResult:
    async with adapter_over(backend) as adapter:
        return await adapter.find_tasks(CREDENTIAL, task_ids)


def result_types(result: BatchResult) -> dict[str, type]:
    return {task_id: type(answer) for task_id, answer in result.answers.items()}


def ids_with(result: BatchResult, kind: type) -> list[str]:
    return [task_id for task_id, answer in result.answers.items() if isinstance(answer, kind)]


def batch_backend(known: Sequence[str], change: Callable[[list[Any]], list[Any]], count: int | None = None) -> Backend:
    """Return a backend with the tasks `known`. `change` modifies the records of a batch response."""

    async def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if asked["action"] == "retrieve":
            return httpx.Response(200, json=completed(asked["id"]) if asked["id"] in known else {})
        items = [completed(task_id) for task_id in asked["ids"] if task_id in known]
        return httpx.Response(200, json=listing(*change(items), count=count))

    return Backend(answer)


async def test_one_id_is_read_with_a_single_read_and_the_callers_token() -> None:
    backend = Backend(finding_every_task)
    result = await find_tasks_over(backend, ["task-0"])
    assert result_types(result) == {"task-0": Task}
    assert backend.bodies == [{"action": "retrieve", "id": "task-0"}]
    (request,) = backend.requests
    assert (request.url.path, request.headers["authorization"]) == ("/luma/tasks", "Bearer token-a")


@pytest.mark.parametrize(
    ("count", "sizes"), [(2, [2]), (50, [50]), (51, [50, 1]), (120, [50, 50, 20]), (200, [50] * 4)]
)
async def test_many_ids_are_read_in_chunks_of_fifty(count: int, sizes: list[int]) -> None:
    backend = Backend(finding_every_task)
    result = await find_tasks_over(backend, task_ids_up_to(count))
    assert ids_with(result, Task) == task_ids_up_to(count)
    assert [len(body.get("ids", [body.get("id")])) for body in backend.bodies] == sizes
    assert result.calls == len(sizes)


async def test_the_chunks_are_read_concurrently() -> None:
    together = asyncio.Barrier(3)

    async def answer(request: httpx.Request) -> httpx.Response:
        await together.wait()  # passes only once all three have arrived
        return await finding_every_task(request)

    result = await find_tasks_over(Backend(answer), task_ids_up_to(3 * IDS_PER_CALL))
    assert len(ids_with(result, Task)) == 3 * IDS_PER_CALL


async def test_ids_missing_in_a_response_of_twelve_records_are_read_again_in_twelves() -> None:
    backend = batch_backend(task_ids_up_to(50), lambda items: items[:DEFAULT_LIMIT])
    result = await find_tasks_over(backend, task_ids_up_to(50))
    assert ids_with(result, Task) == task_ids_up_to(50)
    assert [len(body["ids"]) for body in backend.bodies] == [50, 12, 12, 12, 2]
    assert result.calls == 5


async def test_an_id_missing_in_both_reads_is_not_found() -> None:
    backend = batch_backend(task_ids_up_to(49), lambda items: items[:DEFAULT_LIMIT])
    result = await find_tasks_over(backend, task_ids_up_to(50))
    assert ids_with(result, type(None)) == ["task-49"]
    assert len(ids_with(result, Task)) == 49
    assert len(backend.requests) == 5, "and is not asked for a third time"


async def test_a_response_of_fewer_than_twelve_records_is_complete() -> None:
    backend = batch_backend(task_ids_up_to(5), list)
    result = await find_tasks_over(backend, task_ids_up_to(7))
    assert ids_with(result, type(None)) == ["task-5", "task-6"]
    assert result.calls == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items[::-1],
        lambda items: items + items,
        lambda items: [None, "text", 7, [], *items],
        lambda items: [{}, *items, {"id": 5}, {"id": None, "response": None}],
        lambda items: [*items, completed("somebody-elses")],
    ],
    ids=["reordered", "repeated", "with entries that are no objects", "with records of nothing", "with a foreign one"],
)
async def test_records_are_matched_by_id_whatever_surrounds_them(change: Callable[[list[Any]], list[Any]]) -> None:
    result = await find_tasks_over(batch_backend(task_ids_up_to(4), change), task_ids_up_to(4))
    assert list(result.answers) == task_ids_up_to(4)
    assert [answer.id for answer in result.answers.values() if isinstance(answer, Task)] == task_ids_up_to(4)


async def test_an_unknown_id_is_not_found_with_one_call() -> None:
    result = await find_tasks_over(batch_backend([], list), ["nobody"])
    assert result == BatchResult({"nobody": None}, calls=1)


@pytest.mark.parametrize("nothing", [{}, None])
@pytest.mark.parametrize("known", [[], ["task-0"]])
async def test_an_empty_object_in_place_of_a_record_means_not_found(nothing: Any, known: list[str]) -> None:
    result = await find_tasks_over(batch_backend(known, lambda items: [nothing, *items]), [*known, "nobody", "none"])
    assert ids_with(result, type(None)) == ["nobody", "none"]
    assert ids_with(result, Task) == known
    assert result.calls == 1


async def test_records_of_other_ids_make_missing_ids_a_backend_error() -> None:
    result = await find_tasks_over(
        Backend(replying(200, listing(completed("task-0"), completed("other")))), task_ids_up_to(3)
    )
    assert result_types(result) == {"task-0": Task, "task-1": BackendError, "task-2": BackendError}
    alone = await find_tasks_over(Backend(replying(200, completed("other"))), ["task-0"])
    assert result_types(alone) == {"task-0": BackendError}


@pytest.mark.parametrize("count", [0, 1, -3, 10**9, None, True, "4", [], {}, 2.5])
async def test_records_are_used_whatever_the_count_is(count: Any) -> None:
    result = await find_tasks_over(
        Backend(replying(200, listing(*map(completed, task_ids_up_to(3))) | {"count": count})), task_ids_up_to(4)
    )
    assert ids_with(result, Task) == task_ids_up_to(3)


async def test_missing_ids_are_read_again_if_the_count_exceeds_the_records() -> None:
    backend = batch_backend(task_ids_up_to(3), lambda items: items[:2], count=3)
    result = await find_tasks_over(backend, task_ids_up_to(3))
    assert result.calls == 2
    assert ids_with(result, Task) == task_ids_up_to(3)
    assert backend.bodies[1] == {"action": "retrieve", "id": "task-2"}


@pytest.mark.parametrize("items", [None, {}, "", "none", 0, True])
async def test_items_that_are_not_a_list_are_a_backend_error(items: Any) -> None:
    result = await find_tasks_over(Backend(replying(200, {"items": items, "count": 2})), task_ids_up_to(2))
    assert result_types(result) == {"task-0": BackendError, "task-1": BackendError}


@pytest.mark.parametrize("body", [[], [completed("task-0")], 5, True, None, {"message": "hello"}, {"success": True}])
async def test_a_response_that_is_not_a_record_is_a_backend_error(body: Any) -> None:
    result = await find_tasks_over(Backend(replying(200, body)), ["task-0"])
    assert result_types(result) == {"task-0": BackendError}


def failing_for(task_id: str, fault: Callable[[httpx.Request], Any]) -> Backend:
    """Return a backend that finds every task, but responds to reads of `task_id` with `fault`."""

    async def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        hit = task_id in asked.get("ids", [asked.get("id")])
        response: httpx.Response = await (fault if hit else finding_every_task)(request)
        return response

    return Backend(answer)


@pytest.mark.parametrize(
    ("fault", "kind", "calls"),
    [
        (error_reply(403, "not_applied"), Unauthorized, 3),
        (error_reply(400, "bad_request"), InvalidRequest, 3),
        (replying(502, "<html>Bad adapter</html>"), BackendError, 5),
        (breaking(httpx.ReadError), BackendError, 5),
        (replying(200, "<html>Hello</html>"), BackendError, 5),
    ],
    ids=["403", "400", "502", "reset", "HTML"],
)
async def test_a_bad_chunk_fails_its_own_ids_only(fault: Any, kind: type[LumaError], calls: int) -> None:
    task_ids = task_ids_up_to(120)
    result = await find_tasks_over(failing_for("task-60", fault), task_ids)
    assert ids_with(result, Task) == [*task_ids[:50], *task_ids[100:]]
    assert ids_with(result, kind) == task_ids[50:100]
    assert result.calls == calls


async def test_an_error_of_the_second_read_fails_its_own_ids_only() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)["ids"]
        if len(asked) == 30:
            return httpx.Response(200, json=listing(*map(completed, asked[:DEFAULT_LIMIT])))
        return await (error_reply(401, "token_expired") if "task-29" in asked else finding_every_task)(request)

    result = await find_tasks_over(Backend(answer), task_ids_up_to(30))
    assert ids_with(result, Task) == task_ids_up_to(24)
    assert ids_with(result, Unauthorized) == task_ids_up_to(30)[24:]


async def test_a_tenant_has_at_most_eight_reads_in_flight_and_costs_no_memory_afterwards() -> None:
    in_flight: dict[str, int] = {}
    peak: dict[str, int] = {}

    async def answer(request: httpx.Request) -> httpx.Response:
        token = request.headers["authorization"]
        in_flight[token] = in_flight.get(token, 0) + 1
        peak[token] = max(peak.get(token, 0), in_flight[token])
        for _ in range(5):
            await asyncio.sleep(0)
        in_flight[token] -= 1
        return await finding_every_task(request)

    backend_limits = BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)
    callers = [Credential("tenant-a", "token-a"), Credential("tenant-b", "token-b")]
    async with adapter_over(Backend(answer), backend_limits=backend_limits) as adapter:
        readings = await asyncio.gather(
            *(adapter.find_tasks(caller, task_ids_up_to(20 * IDS_PER_CALL)) for caller in callers)
        )
        assert backend_limits.reads.is_idle
    assert [len(ids_with(result, Task)) for result in readings] == [20 * IDS_PER_CALL] * 2
    assert set(peak.values()) == {READS.per_tenant}


async def test_a_cancelled_read_releases_its_slot() -> None:
    arrived = asyncio.Event()

    async def answer(_request: httpx.Request) -> httpx.Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    backend_limits = BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)
    async with adapter_over(Backend(answer), backend_limits=backend_limits) as adapter:
        question = asyncio.create_task(adapter.find_tasks(CREDENTIAL, task_ids_up_to(20 * IDS_PER_CALL)))
        await arrived.wait()
        question.cancel()
        await asyncio.wait([question])
        assert backend_limits.reads.is_idle


async def test_the_deadline_includes_the_time_in_the_queue() -> None:
    backend_limits = BackendLimits(lambda: NOW, GENERATIONS_AT_ONCE)
    hasty = replace(QUICK, read_deadline=0.05)
    async with adapter_over(Backend(hanging), hasty, backend_limits=backend_limits) as adapter:
        result = await adapter.find_tasks(CREDENTIAL, task_ids_up_to(20 * IDS_PER_CALL))
    assert ids_with(result, BackendTimeout) == task_ids_up_to(20 * IDS_PER_CALL)
    assert result.calls < 20, "the chunks that had no place in time were not sent"
    assert backend_limits.reads.is_idle


EMOJI = {"prompt": "\U0001f98a" * 5000}
"""The longest prompt, in the characters with the longest JSON escapes: 60 KB, which a record echoes twice."""


def with_long_prompts(*long: str) -> Backend:
    """Return a backend that finds every task. The records of `long` have the largest possible size."""

    def record(task_id: str) -> dict[str, Any]:
        if task_id not in long:
            return completed(task_id)
        return completed(task_id, request=EMOJI, response=completed(task_id)["response"] | EMOJI)

    async def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        body = record(asked["id"]) if "id" in asked else listing(*map(record, asked["ids"]))
        return httpx.Response(200, content=json.dumps(body))

    return Backend(answer)


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (7, 1), (25, 1), (50, 3)])
async def test_ids_are_read_in_halves_if_the_response_is_too_large(count: int, calls: int) -> None:
    backend = with_long_prompts(*task_ids_up_to(count))
    result = await find_tasks_over(backend, task_ids_up_to(count))
    assert ids_with(result, Task) == task_ids_up_to(count)
    assert (result.calls, len(backend.requests)) == (calls, calls), "and the same question is never asked again"


async def test_a_record_that_is_too_large_fails_its_own_id_only() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        task_ids = asked.get("ids") or [asked["id"]]
        filler = "x" * 5_000_000 if "task-13" in task_ids else ""
        records = [completed(task_id, filler=filler) for task_id in task_ids]
        return httpx.Response(200, json=listing(*records[:1], *map(completed, task_ids[1:])))

    result = await find_tasks_over(Backend(answer), task_ids_up_to(50))
    assert ids_with(result, BackendError) == ["task-13"]
    assert len(ids_with(result, Task)) == 49
    assert type(result.answers["task-13"]) is BackendError


async def test_halving_stops_if_all_responses_are_too_large() -> None:
    backend = Backend(replying(200, "x" * 5_000_000))
    result = await find_tasks_over(backend, task_ids_up_to(200))
    assert ids_with(result, BackendError) == task_ids_up_to(200)
    assert len(backend.requests) == 4 + 2 * MAX_SPLITS
