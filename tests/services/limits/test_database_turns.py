"""DatabaseTurns: fairness between callers, disconnected callers, and a full queue."""

import asyncio

import pytest

from app.ports.repositories import DatabaseBusy
from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.database_turns import DatabaseTurns
from app.services.limits.fair_limiter import FairLimiter, Shares
from tests.support.turns import database_turns


class Operations:
    """Operations that end when the test sets `may_end`."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.may_end = asyncio.Event()

    async def run(self, name: str) -> str:
        self.began.append(name)
        await self.may_end.wait()
        return name


async def turn_of_the_loop() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_operation_keeps_its_place_when_its_caller_disconnects() -> None:
    turns, operations = database_turns(places=1), Operations()
    leaving = asyncio.create_task(turns.run("a", lambda: operations.run("first")))
    await turn_of_the_loop()
    leaving.cancel()
    await asyncio.wait([leaving])
    next_one = asyncio.create_task(turns.run("b", lambda: operations.run("second")))
    await turn_of_the_loop()
    assert operations.began == ["first"]
    operations.may_end.set()
    assert await next_one == "second"


async def test_a_caller_with_many_operations_delays_others_by_at_most_one() -> None:
    turns, operations = database_turns(places=1), Operations()
    many = [asyncio.create_task(turns.run("many", lambda: operations.run("many"))) for _ in range(20)]
    await turn_of_the_loop()
    one = asyncio.create_task(turns.run("one", lambda: operations.run("one")))
    await turn_of_the_loop()
    operations.may_end.set()
    await asyncio.gather(one, *many)
    assert operations.began.index("one") <= 2


async def test_unaccepted_callers_leave_a_place_for_accepted_ones() -> None:
    is_accepted = "honest".__eq__
    waiting = CallerQuota(QuotaLimits(100, 100, 100), is_accepted)
    turns, operations = DatabaseTurns(FairLimiter(Shares(2, 1, 1), is_accepted), waiting), Operations()
    made_up = [asyncio.create_task(turns.run(f"made-up-{n}", lambda: operations.run("made-up"))) for n in range(10)]
    honest = asyncio.create_task(turns.run("honest", lambda: operations.run("honest")))
    await turn_of_the_loop()
    assert sorted(operations.began) == ["honest", "made-up"]
    operations.may_end.set()
    await asyncio.gather(honest, *made_up)


async def test_an_operation_is_refused_and_does_not_run_when_the_queue_is_full() -> None:
    turns, operations = database_turns(places=1, waiting=4), Operations()
    first = [asyncio.create_task(turns.run(f"caller-{n}", lambda: operations.run("x"))) for n in range(5)]
    await turn_of_the_loop()
    with pytest.raises(DatabaseBusy):
        await turns.run("late", lambda: operations.run("late"))
    operations.may_end.set()
    assert await asyncio.gather(*first) == ["x"] * 5
    assert "late" not in operations.began


async def test_an_operation_without_a_turn_in_time_is_refused_and_does_not_run() -> None:
    too_slow = list[str]()
    places, is_accepted = FairLimiter(Shares(1, 1, 1), "caller".__eq__), "caller".__eq__
    waiting = CallerQuota(QuotaLimits(10, 10, 10), is_accepted)
    turns = DatabaseTurns(places, waiting, lambda: too_slow.append("too slow"), longest_wait_seconds=0.001)
    operations = Operations()
    first = asyncio.create_task(turns.run("caller", lambda: operations.run("first")))
    await turn_of_the_loop()
    with pytest.raises(DatabaseBusy):
        await turns.run("caller", lambda: operations.run("late"))
    operations.may_end.set()
    assert await first == "first"
    assert (operations.began, too_slow, waiting.in_use) == (["first"], ["too slow"], 0)
    assert places.is_idle


async def test_run_raises_the_exception_of_the_operation() -> None:
    async def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await database_turns(places=1).run("a", fails)
