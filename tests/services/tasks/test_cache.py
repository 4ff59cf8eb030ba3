"""TaskCache: hits in both levels, times to live, bounds, and altered values."""

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.adapters.acedata.quotes import MAX_QUOTE_LENGTH
from app.domain.errors import ErrorCode
from app.domain.freshness import CachePolicy
from app.domain.public_url import MAX_URL_LENGTH
from app.domain.task import Failure, Task, TaskState, Video
from app.domain.untrusted_text import MAX_ID_LENGTH, MAX_SHOWN_PROMPT_LENGTH
from app.mcp_server.tools.rendering import render
from app.services.key_namespace import KeyNamespace
from app.services.limits.backend_limits import LARGE_STORE_READS, SMALL_STORE_READS, StoreReads
from app.services.limits.work_turns import SMALL_BATCH, WorkTurns
from app.services.tasks.cache import TASK_KIND, TaskCache
from app.services.tasks.sealed_values import MAX_BYTES, SealedValues
from app.services.tasks.stored_format import CLOCKS_DIFFER_SECONDS
from tests.support.clock import HandClock
from tests.support.keeping import SEALER, TASKS
from tests.support.rendering import rendered
from tests.support.stores import CountingStore
from tests.support.telemetry import Notes

POLICY = CachePolicy(result_seconds=1000.0, pending_seconds=3.0)
A, B = "tenant-a", "tenant-b"
KEY_A = TASKS.key(A, "a")


def cache(  # noqa: PLR0913 - what tests vary
    store: CountingStore,
    clock: HandClock,
    notes: Notes | None = None,
    *,
    local_bytes: int = 1_000_000,
    longest_wait_seconds: float = 60.0,
    turns: WorkTurns | None = None,
) -> TaskCache:
    return TaskCache(
        store,
        TASKS,
        POLICY,
        notes or Notes(),
        render=render,
        reads=StoreReads(lambda _tenant: True),
        turns=turns or WorkTurns(lambda _tenant: True),
        local_bytes=local_bytes,
        wall_clock=clock,
        longest_wait_seconds=longest_wait_seconds,
    )


def completed(task_id: str, clock: HandClock, age: float = 0.0) -> Task:
    video = Video(f"https://cdn.example.com/{task_id}.mp4", "v", 1360, 752, "https://cdn.example.com/a.jpg")
    finished_at = clock() - age
    return Task(task_id, TaskState.COMPLETED, "Füchse 🦊", video, None, finished_at - 150, finished_at, 149.5)


def failed(task_id: str, clock: HandClock) -> Task:
    return Task(task_id, TaskState.FAILED, failure=Failure(ErrorCode.REFUSED, "No."), finished_at=clock())


def running(task_id: str) -> Task:
    return Task(task_id, TaskState.PROCESSING, "A fox", created_at=1_789_999_990.25)


async def test_tasks_put_by_one_process_are_found_by_another(clock: HandClock) -> None:
    store = CountingStore()
    tasks = [completed("a", clock), failed("b", clock), running("c"), Task("d", TaskState.PENDING)]
    await cache(store, clock).put_many(A, tasks)
    found = await cache(store, clock).get_many(A, ["c", "a", "nothing", "b", "d"])
    assert {task_id: task._replace(fresh_until=0.0) for task_id, task in found.tasks.items()} == {
        task.id: rendered(task) for task in tasks
    }
    assert list(found.tasks) == ["c", "a", "b", "d"], "in the order asked"
    assert (found.local_hits, found.shared_hits) == (0, 4)


async def test_get_many_and_put_many_are_one_round_trip_each(clock: HandClock) -> None:
    store = CountingStore()
    one = cache(store, clock)
    await one.put_many(A, [running(str(number)) for number in range(120)])
    await one.get_many(A, [str(number) for number in range(120)])
    assert (len(store.asked), store.puts) == (1, 1)


class SlowStore(CountingStore):
    """A CountingStore whose reads are answered when the test sets `may_answer`."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = await super().get_many(keys)
        await self.may_answer.wait()
        return found


async def test_reads_of_the_store_are_shared_between_tenants(clock: HandClock) -> None:
    store = SlowStore()
    one = cache(store, clock)
    reads = [asyncio.create_task(one.get_many(A, [str(number)])) for number in range(50)]
    await asyncio.sleep(0)
    assert len(store.asked) == SMALL_STORE_READS.per_tenant
    reads.append(asyncio.create_task(one.get_many(B, ["b"])))
    await asyncio.sleep(0)
    assert store.asked[-1] == [TASKS.key(B, "b")]
    store.may_answer.set()
    await asyncio.gather(*reads)
    assert len(store.asked) == 51


async def test_a_read_without_a_turn_in_time_finds_what_this_process_has(clock: HandClock) -> None:
    store, notes = SlowStore(), Notes()
    one = cache(store, clock, notes, longest_wait_seconds=0.001)
    await one.put_many(A, [completed("mine", clock)])
    reads = [asyncio.create_task(one.get_many(A, [str(number)])) for number in range(SMALL_STORE_READS.per_tenant)]
    await asyncio.sleep(0)
    found = await one.get_many(A, ["mine", "other"])
    assert (list(found.tasks), found.local_hits, notes.store_failures) == (["mine"], 1, ["wait"])
    assert len(store.asked) == SMALL_STORE_READS.per_tenant
    store.may_answer.set()
    await asyncio.gather(*reads)
    await one.get_many(A, ["other"])
    assert store.asked[-1] == [TASKS.key(A, "other")], "the next read has a turn again"


async def test_final_tasks_are_found_in_the_process_without_a_round_trip(clock: HandClock) -> None:
    store = CountingStore()
    one = cache(store, clock)
    await one.put_many(A, [completed("a", clock), failed("b", clock)])
    found = await one.get_many(A, ["a", "b"])
    assert (found.local_hits, found.shared_hits, store.asked) == (2, 0, [])


async def test_a_final_task_read_twice_from_the_store_is_cached_in_the_process(clock: HandClock) -> None:
    store = CountingStore()
    await cache(store, clock).put_many(A, [completed("a", clock)])
    other = cache(store, clock)
    assert [(await other.get_many(A, ["a"])).local_hits for _ in range(3)] == [0, 0, 1]


async def test_tasks_read_once_do_not_evict_tasks_read_repeatedly(clock: HandClock) -> None:
    store = CountingStore()
    room = 10 * rendered(completed("0", clock)).size_bytes
    one, other = cache(store, clock, local_bytes=10**9), cache(store, clock, local_bytes=room)
    await one.put_many(A, [completed(str(number), clock) for number in range(500)])
    await other.put_many(A, [completed("mine", clock)])
    for number in range(500):
        await other.get_many(A, [str(number)])
    assert (await other.get_many(A, ["mine"])).local_hits == 1


async def test_running_tasks_are_cached_only_in_the_store(clock: HandClock) -> None:
    store = CountingStore()
    one = cache(store, clock)
    await one.put_many(A, [running("a"), completed("b", clock)])
    found = await one.get_many(A, ["a", "b"])
    assert (found.local_hits, found.shared_hits) == (1, 1)
    assert store.asked == [["luma-mcp:tests:{tenant-a}:task:5:a"]], "only ids that this process does not have"


async def test_put_many_gives_the_store_a_time_to_live_for_each_task(clock: HandClock) -> None:
    store = CountingStore()
    await cache(store, clock).put_many(A, [running("a"), completed("b", clock, age=400), completed("c", clock, 2000)])
    assert list(store.ttl_seconds.values()) == [3.0, 600.0, 3.0]


async def test_a_task_in_the_process_expires(clock: HandClock) -> None:
    store = CountingStore()
    one = cache(store, clock)
    await one.put_many(A, [completed("a", clock, age=400)])
    store.held.clear()
    hits = []
    for pause in (0.0, 599.0, 1.0):
        clock.advance(pause)
        hits.append(list((await one.get_many(A, ["a"])).tasks))
    assert hits == [["a"], ["a"], []]


async def test_least_recently_used_tasks_are_evicted_from_the_process(clock: HandClock) -> None:
    store = CountingStore()
    one = cache(store, clock, local_bytes=5 * rendered(completed("a", clock)).size_bytes)
    for task_id in ("a", "b", "d"):
        await one.put_many(A, [completed(task_id, clock)])
    await one.get_many(A, ["a"])
    await one.put_many(A, [completed("c", clock)])
    found = await one.get_many(A, ["a", "b", "c"])
    assert store.asked == [["luma-mcp:tests:{tenant-a}:task:5:b"]]
    assert (found.local_hits, found.shared_hits) == (2, 1)


async def test_tasks_in_the_process_are_bounded_in_bytes_when_urls_are_long(clock: HandClock) -> None:
    store = CountingStore()
    one = cache(store, clock, local_bytes=100_000)
    for number in range(200):
        long = Video("https://cdn.example.com/" + "a" * 2000)
        await one.put_many(A, [Task(f"t{number}", TaskState.COMPLETED, video=long, finished_at=clock())])
    found = await one.get_many(A, [f"t{number}" for number in range(200)])
    assert 0 < found.local_hits * 2000 <= 100_000
    assert len(found.tasks) == 200


async def test_tasks_of_one_tenant_are_not_returned_to_another(clock: HandClock) -> None:
    store, notes = CountingStore(), Notes()
    one = cache(store, clock, notes)
    await one.put_many(A, [completed("a", clock), running("b")])
    assert (await one.get_many(B, ["a", "b"])).tasks == {}
    assert notes.values_refused == 0, "the keys of the tenants differ, so nothing was found"


def body(value: bytes) -> bytes:
    """Unseal a stored value under KEY_A."""
    [unsealed] = SEALER.unseal_each([(KEY_A, value)])
    assert unsealed is not None
    return unsealed


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value[:0],
        lambda value: value[:-1],
        lambda value: value[: len(value) // 2],
        lambda value: value + b"}",
        lambda value: value[16:],
        lambda value: bytes(16) + value[16:],
        lambda value: value[1:] + value[:1],
        lambda value: bytes([value[0] ^ 1]) + value[1:],
        lambda value: value[:12] + bytes([value[12] ^ 2]) + value[13:],
        lambda value: value[:-1] + bytes([value[-1] ^ 4]),
        body,
        lambda value: value[:0] + b"\x80\x04\x95pickle",
        lambda value: SEALER.seal(KEY_A, body(value)[:-1]),
        lambda value: SEALER.seal(KEY_A, body(value) + b" "),
        lambda value: SEALER.seal(KEY_A, body(value)[:14]),
        lambda value: SEALER.seal(KEY_A, body(value)[:1] + b"\x09" + body(value)[2:]),
        lambda _value: SEALER.seal(TASKS.key(B, "a"), b"\x01"),
        lambda _value: SEALER.seal(KEY_A, b"\x01" * MAX_BYTES),
    ],
)
async def test_an_altered_value_is_a_miss_and_counted(spoil: Any, clock: HandClock) -> None:
    store, notes = CountingStore(), Notes()
    await cache(store, clock).put_many(A, [completed("a", clock), completed("c", clock)])
    store.held[KEY_A] = spoil(store.held[KEY_A])
    found = await cache(store, clock, notes).get_many(A, ["a", "c"])
    assert list(found.tasks) == ["c"]
    assert (found.shared_hits, notes.values_refused) == (1, 1)


@pytest.mark.parametrize(
    "form", [b"", b"\x00", b"\x02 whatever comes next", b"null", b'{"id":"a","state":"completed"}']
)
async def test_a_value_of_another_version_is_a_miss_and_not_counted(form: bytes, clock: HandClock) -> None:
    store, notes = CountingStore(), Notes()
    store.held[KEY_A] = SEALER.seal(KEY_A, form)
    assert (await cache(store, clock, notes).get_many(A, ["a"])).tasks == {}
    assert notes.values_refused == 0


async def test_a_stored_value_is_a_header_and_the_rendered_parts_sealed(clock: HandClock) -> None:
    store = CountingStore()
    await cache(store, clock).put_many(A, [running("a")])
    head, line = b'{"task_id":"a","state":"processing"', b"a processing"
    rest = b',"prompt":"A fox","created_at":"2026-09-21T14:13:10Z"'
    until, created_at = clock() + POLICY.pending_seconds, 1_789_999_990.25
    times = struct.pack(">dd", until, created_at) + struct.pack(">d", float("nan"))
    lengths = struct.pack(">HHH", len(head), len(line), len(rest))
    form = b"\x01\x01" + times + lengths + head + line + rest
    assert {key: body(value) for key, value in store.held.items()} == {"luma-mcp:tests:{tenant-a}:task:5:a": form}


async def test_a_value_is_valid_only_for_its_own_backend_tenant_and_id(clock: HandClock) -> None:
    store, notes = CountingStore(), Notes()
    await cache(store, clock).put_many(A, [completed("a", clock)])
    (value,) = store.held.values()
    elsewhere = SealedValues(TASK_KIND, KeyNamespace("luma-mcp:other"), SEALER)
    for key in (TASKS.key(B, "a"), TASKS.key(A, "b"), elsewhere.key(A, "a")):
        assert list(TASKS.unseal_each([KEY_A, key, KEY_A], [value, value, None])) == [body(value), None, None]
    store.held[TASKS.key(B, "a")] = value
    assert (await cache(store, clock, notes).get_many(B, ["a"])).tasks == {}
    assert notes.values_refused == 1


async def test_an_expired_value_that_is_written_again_is_a_miss(clock: HandClock) -> None:
    store, notes = CountingStore(), Notes()
    await cache(store, clock).put_many(A, [running("a")])
    captured = dict(store.held)
    clock.advance(POLICY.pending_seconds + CLOCKS_DIFFER_SECONDS + 1)
    store.held = captured
    assert (await cache(store, clock, notes).get_many(A, ["a"])).tasks == {}
    assert notes.values_refused == 0


async def test_the_largest_task_is_stored(clock: HandClock) -> None:
    store, url = CountingStore(), "https://cdn.example.com/".ljust(MAX_URL_LENGTH, "a")
    video = Video(url, "v" * MAX_ID_LENGTH, 99_999, 99_999, url, clock() + 60)
    failure = Failure(ErrorCode.ACCOUNT_DISABLED, "x" * (MAX_QUOTE_LENGTH + 500))
    prompt = "\U0001f98a" * MAX_SHOWN_PROMPT_LENGTH
    largest = Task("t" * MAX_ID_LENGTH, TaskState.COMPLETED, prompt, video, failure, clock(), clock(), 999.9)
    await cache(store, clock).put_many(A, [largest])
    (held,) = store.held.values()
    assert 1.3 * len(held) < MAX_BYTES


@pytest.mark.parametrize("too_long", [MAX_BYTES - 80, MAX_BYTES])
async def test_a_value_that_is_too_large_is_neither_stored_nor_read(clock: HandClock, too_long: int) -> None:
    store = CountingStore()
    put = await cache(store, clock).put_many(A, [replace(running("a"), prompt="x" * too_long)])
    assert store.held == {}
    assert put["a"].id == "a", "the task is returned nevertheless"
    store.held[KEY_A] = SEALER.seal(KEY_A, b"\x01" + b"x" * MAX_BYTES)
    assert (await cache(store, clock).get_many(A, ["a"])).tasks == {}


async def test_large_batches_that_wait_for_a_turn_hold_no_place_at_the_store(clock: HandClock) -> None:
    turns = WorkTurns(lambda _tenant: True)
    cached = cache(CountingStore(), clock, turns=turns)
    await turns.wait("tenant-of-long-work", iterations=200)
    ids = [f"task-{number}" for number in range(SMALL_BATCH + 1)]
    large = [asyncio.create_task(cached.get_many(f"tenant-{n}", ids)) for n in range(LARGE_STORE_READS.places)]
    await asyncio.sleep(0)
    small = asyncio.create_task(cached.get_many(B, ["a"]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert small.done()
    assert not any(task.done() for task in large)
    await asyncio.gather(small, *large)
