"""SingleFlight: joined fetches, cancelled callers, errors and closing."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from app.services.tasks.single_flight import SingleFlight

Fetch = Callable[[list[str]], Awaitable[dict[str, str]]]


class Fetches:
    """A fetch that waits until the test allows it to end, and lists the keys of each call."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, keys: list[str]) -> dict[str, str]:
        self.asked.append(keys)
        self.begun.set()
        await self.may_end.wait()
        return {key: key.upper() for key in keys}


Flights = SingleFlight[str, str]
Lookup = asyncio.Task[tuple[dict[str, str], int]]


def ask(flights: Flights, keys: list[str], fetch: Fetch) -> Lookup:
    return asyncio.create_task(flights.get_many(keys, fetch))


async def turns(count: int = 5) -> None:
    """Let other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_keys_in_flight_are_joined_and_the_others_fetched() -> None:
    flights, fetches = Flights(), Fetches()
    first = ask(flights, ["a", "b"], fetches)
    await fetches.begun.wait()
    second = ask(flights, ["c", "b", "a"], fetches)
    await turns()
    fetches.may_end.set()
    assert await first == ({"a": "A", "b": "B"}, 0)
    assert await second == ({"c": "C", "b": "B", "a": "A"}, 2)
    assert fetches.asked == [["a", "b"], ["c"]]


async def test_a_hundred_concurrent_callers_share_one_fetch() -> None:
    flights, fetches = Flights(), Fetches()
    fetches.may_end.set()
    answers = await asyncio.gather(*(flights.get_many(["a"], fetches) for _ in range(100)))
    assert fetches.asked == [["a"]]
    assert [joined for _, joined in answers] == [0] + [1] * 99


async def test_a_key_is_fetched_again_after_its_fetch_has_ended() -> None:
    flights, fetches = Flights(), Fetches()
    fetches.may_end.set()
    await flights.get_many(["a"], fetches)
    assert await flights.get_many(["a"], fetches) == ({"a": "A"}, 0)
    assert fetches.asked == [["a"], ["a"]]


async def test_a_cancelled_caller_does_not_fail_the_others() -> None:
    flights, fetches = Flights(), Fetches()
    leader = ask(flights, ["a"], fetches)
    await fetches.begun.wait()
    follower, leaver = ask(flights, ["a"], fetches), ask(flights, ["a"], fetches)
    await turns()
    leader.cancel()
    leaver.cancel()
    await asyncio.wait([leader, leaver])
    fetches.may_end.set()
    assert await follower == ({"a": "A"}, 1)
    assert (leader.cancelled(), leaver.cancelled()) == (True, True)
    assert fetches.asked == [["a"]]


async def test_a_sent_fetch_continues_without_callers_and_may_be_joined() -> None:
    flights, fetches = Flights(), Fetches()
    leader = ask(flights, ["a"], fetches)
    await fetches.begun.wait()
    leader.cancel()
    await asyncio.wait([leader])
    late = ask(flights, ["a"], fetches)
    await turns()
    fetches.may_end.set()
    assert await late == ({"a": "A"}, 1)


async def test_an_exception_of_a_fetch_is_raised_in_every_caller() -> None:
    flights, may_fail = Flights(), asyncio.Event()

    async def fail(_keys: list[str]) -> dict[str, str]:
        await may_fail.wait()
        raise LookupError("no luck")

    callers = [ask(flights, keys, fail) for keys in (["a", "b"], ["a"], ["b", "a"])]
    await turns()
    may_fail.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 3


async def test_a_failed_fetch_without_callers_logs_no_asyncio_warning() -> None:
    flights, may_fail = Flights(), asyncio.Event()

    async def fail(_keys: list[str]) -> dict[str, str]:
        await may_fail.wait()
        raise LookupError

    caller = ask(flights, ["a"], fail)
    await turns()
    caller.cancel()
    await asyncio.wait([caller])
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    del caller
    may_fail.set()
    await turns()
    gc.collect()  # asyncio reports an unretrieved exception when the future is collected
    assert reported == []
    assert flights._pending == {}  # noqa: SLF001 - the claim is about memory, which no method shows


async def test_after_a_failure_the_next_caller_tries_again() -> None:
    flights, fetches = Flights(), Fetches()

    async def fail(_keys: list[str]) -> dict[str, str]:
        raise LookupError

    with pytest.raises(LookupError):
        await flights.get_many(["a"], fail)
    fetches.may_end.set()
    assert await flights.get_many(["a"], fetches) == ({"a": "A"}, 0)


async def test_a_key_missing_from_the_result_of_a_fetch_raises_key_error() -> None:
    async def incomplete(_keys: list[str]) -> dict[str, str]:
        return {"a": "A"}

    with pytest.raises(KeyError):
        await Flights().get_many(["a", "b"], incomplete)


@pytest.mark.parametrize("turns_before", [0, 1, 2, 5])
async def test_aclose_raises_connection_aborted_in_waiting_callers(turns_before: int) -> None:
    flights, fetches = Flights(), Fetches()
    callers = [ask(flights, ["a"], fetches) for _ in range(3)]
    await asyncio.sleep(0)
    await turns(turns_before)
    await flights.aclose()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionAbortedError] * 3


async def test_no_state_remains_after_all_fetches_have_ended() -> None:
    flights, fetches = Flights(), Fetches()
    callers = [ask(flights, ["a", str(number)], fetches) for number in range(20)]
    await turns()
    for caller in callers[:10]:
        caller.cancel()
    fetches.may_end.set()
    await asyncio.gather(*callers, return_exceptions=True)
    await turns()
    await flights.aclose()  # has nothing to wait for
    assert flights._pending == {}  # noqa: SLF001 - the claim is about memory, which no method shows
    assert flights._tasks == set()  # noqa: SLF001 - the same
