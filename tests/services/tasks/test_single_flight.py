"""One fetch per key: who joins, who leaves, and what everybody gets."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from app.services.tasks.single_flight import SingleFlight

Fetch = Callable[[list[str]], Awaitable[dict[str, str]]]


class Fetches:
    """A fetch that is held until the test lets it go, and remembers what it was asked for."""

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
Asked = asyncio.Task[tuple[dict[str, str], int]]


def ask(flights: Flights, keys: list[str], fetch: Fetch) -> Asked:
    return asyncio.create_task(flights.get_many(keys, fetch))


async def turns(count: int = 5) -> None:
    """Let everything run that can run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_key_that_is_being_fetched_is_joined_and_the_others_are_led() -> None:
    flights, fetches = Flights(), Fetches()
    first = ask(flights, ["a", "b"], fetches)
    await fetches.begun.wait()
    second = ask(flights, ["c", "b", "a"], fetches)
    await turns()
    fetches.may_end.set()
    assert await first == ({"a": "A", "b": "B"}, 0)
    assert await second == ({"c": "C", "b": "B", "a": "A"}, 2)
    assert fetches.asked == [["a", "b"], ["c"]]


async def test_a_hundred_callers_at_once_cost_one_fetch() -> None:
    flights, fetches = Flights(), Fetches()
    fetches.may_end.set()
    answers = await asyncio.gather(*(flights.get_many(["a"], fetches) for _ in range(100)))
    assert fetches.asked == [["a"]]
    assert [joined for _, joined in answers] == [0] + [1] * 99


async def test_a_landed_key_is_fetched_anew() -> None:
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


async def test_a_flight_goes_on_when_everybody_has_left_and_may_be_joined() -> None:
    flights, fetches = Flights(), Fetches()
    leader = ask(flights, ["a"], fetches)
    await fetches.begun.wait()
    leader.cancel()
    await asyncio.wait([leader])
    late = ask(flights, ["a"], fetches)
    await turns()
    fetches.may_end.set()
    assert await late == ({"a": "A"}, 1)


async def test_what_a_fetch_raises_reaches_everybody_who_waits() -> None:
    flights, may_fail = Flights(), asyncio.Event()

    async def fail(_keys: list[str]) -> dict[str, str]:
        await may_fail.wait()
        raise LookupError("no luck")

    callers = [ask(flights, keys, fail) for keys in (["a", "b"], ["a"], ["b", "a"])]
    await turns()
    may_fail.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 3


async def test_a_failure_that_nobody_waits_for_any_more_is_no_warning() -> None:
    flights, may_fail = Flights(), asyncio.Event()

    async def fail(_keys: list[str]) -> dict[str, str]:
        await may_fail.wait()
        raise LookupError

    caller = ask(flights, ["a"], fail)
    await turns()
    caller.cancel()
    await asyncio.wait([caller])
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    del caller
    may_fail.set()
    await turns()
    gc.collect()  # a future complains when it is thrown away
    assert complaints == []
    assert flights._pending == {}  # noqa: SLF001 - the claim is about memory, which no method shows


async def test_after_a_failure_the_next_caller_tries_again() -> None:
    flights, fetches = Flights(), Fetches()

    async def fail(_keys: list[str]) -> dict[str, str]:
        raise LookupError

    with pytest.raises(LookupError):
        await flights.get_many(["a"], fail)
    fetches.may_end.set()
    assert await flights.get_many(["a"], fetches) == ({"a": "A"}, 0)


async def test_a_key_that_the_fetch_forgot_is_an_error_and_not_a_wait_for_ever() -> None:
    async def forgetful(_keys: list[str]) -> dict[str, str]:
        return {"a": "A"}

    with pytest.raises(KeyError):
        await Flights().get_many(["a", "b"], forgetful)


@pytest.mark.parametrize("turns_before", [0, 1, 2, 5])
async def test_closing_tells_those_who_wait_however_far_the_flight_is(turns_before: int) -> None:
    flights, fetches = Flights(), Fetches()
    callers = [ask(flights, ["a"], fetches) for _ in range(3)]
    await asyncio.sleep(0)
    await turns(turns_before)
    await flights.aclose()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionAbortedError] * 3


async def test_nothing_is_kept_once_everything_has_landed() -> None:
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
    assert flights._flights == set()  # noqa: SLF001 - the same
