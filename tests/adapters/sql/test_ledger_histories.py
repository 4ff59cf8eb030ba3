"""Random histories of the ledger with crashes at every step. Spent, reserved and remaining always add up to the budget.

A crash comes before an operation, between two of its statements, before its commit, or after it, so that its caller
gets no result. Hypothesis generates the histories, and finds the shortest one that breaks an invariant.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.budget_tables import budget_windows
from app.adapters.sql.budgets import put_budget, raise_budget, remove_budget
from app.adapters.sql.engine import Database
from app.adapters.sql.ledger import give_back, reserve, take, unsettled
from app.domain.budget import Budget, BudgetExceeded, Charge, EntryState, Spender, threshold_passed
from app.domain.calendar import Window, time_zone, window_at
from app.domain.money import MILLIONTHS
from tests.support.clock import HandClock
from tests.support.databases import PostgresServers, opened, url_of
from tests.support.faulty_purchases import Crashed
from tests.support.histories import run_histories
from tests.support.picks import PICKS, picked
from tests.support.spending import budget, make_team, priced

ZONE = "America/St_Johns"
MAX_STATEMENTS = 9
CRASHES = st.one_of(st.none(), st.none(), st.integers(0, MAX_STATEMENTS), st.just("after"))
"""The number of statements after which an operation crashes, or a crash after its commit."""
CALLERS = [("one", "a"), ("one", "b"), ("two", "c")]
SPENDERS = st.sampled_from([(None, None), ("one", None), ("two", None), (None, "a")])

Operation = Callable[[AsyncConnection], Awaitable[Any]]


class CrashingConnection:
    """A connection that executes a number of statements, and then raises as if the process had died."""

    def __init__(self, true: AsyncConnection, statements: int) -> None:
        self._true = true
        self._left = statements

    @property
    def dialect(self) -> Any:
        return self._true.dialect

    async def execute(self, statement: Any) -> Any:
        if not self._left:
            raise Crashed
        self._left -= 1
        return await self._true.execute(statement)


@dataclass
class Entry:
    """The expected state of a purchase in the ledger."""

    spender: Spender
    amount: int
    created_at: float
    windows: set[tuple[str, float]]
    state: EntryState = EntryState.RESERVED


@dataclass
class Truth:
    """A model of the ledger: its entries. The amounts of windows are computed as sums of entries."""

    budgets: dict[tuple[str | None, str | None, Window], Budget] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    told: dict[tuple[str, float], int] = field(default_factory=dict)

    def used(self, place: tuple[str, float], *states: EntryState) -> int:
        return sum(entry.amount for entry in self.entries.values() if place in entry.windows and entry.state in states)

    def counting(self, spender: Spender) -> list[Budget]:
        ways = {(None, None), (spender.member, None), (None, spender.key)}
        return [one for one in self.budgets.values() if (one.spender.member, one.spender.key) in ways]


class Histories(RuleBasedStateMachine):
    """A team with three keys. Budgets are set and removed while its members buy."""

    runner: ClassVar[asyncio.Runner]
    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock(1_772_900_000.0)  # the week in which the clocks there go forward
        self.team = self.runner.run(make_team(self.database, self.clock, ZONE))
        self.truth = Truth()
        self.attempts: list[str] = []

    def run(self, operation: Operation, crash: int | str | None) -> tuple[bool, Any]:
        """Return whether the operation was committed, and the result for its caller."""

        async def crashing(connection: AsyncConnection) -> Any:
            if not isinstance(crash, int):
                return await operation(connection)
            await operation(cast("AsyncConnection", CrashingConnection(connection, crash)))
            raise Crashed  # before its commit

        async def whole() -> Any:
            task = asyncio.ensure_future(self.database.run_in_transaction(crashing))
            await asyncio.wait([task])
            return None if task.cancelled() else task

        task = self.runner.run(whole())
        if task is None:
            return False, None
        result = task.result()  # raises what the operation did
        return True, None if crash == "after" else result

    def place(self, one: Budget) -> tuple[str, float]:
        return one.id, window_at(one.window, self.clock(), time_zone(ZONE)).start

    @rule(
        spender=SPENDERS,
        window=st.sampled_from(Window),
        units=st.integers(0, 12),
        is_soft=st.booleans(),
        crash=CRASHES,
    )
    def put(
        self, spender: tuple[str | None, str | None], window: Window, units: int, *, is_soft: bool, crash: Any
    ) -> None:
        wanted = budget(self.team, units, window, member=spender[0], key=spender[1], is_soft=is_soft)
        done, _ = self.run(lambda connection: put_budget(connection, wanted, self.clock.sql), crash)
        if not done:
            return
        earlier = self.truth.budgets.get((*spender, window))
        self.truth.budgets[*spender, window] = wanted if earlier is None else replace(wanted, id=earlier.id)
        if earlier is not None:
            return
        place = self.place(wanted)
        for entry in self.truth.entries.values():
            is_mine = wanted in self.truth.counting(entry.spender)
            if is_mine and entry.created_at >= place[1] and entry.state is not EntryState.GIVEN_BACK:
                entry.windows.add(place)
        used = self.truth.used(place, EntryState.RESERVED, EntryState.TAKEN)
        self.truth.told[place] = threshold_passed(used, wanted.amount, 0) or 0

    @rule(pick=PICKS, by=st.integers(1, 9), seconds=st.integers(1, 200_000), crash=CRASHES)
    def increase(self, pick: int, by: int, seconds: int, crash: Any) -> None:
        if not self.truth.budgets:
            return
        key, one = picked(list(self.truth.budgets.items()), pick)
        amount, until = by * MILLIONTHS, self.clock() + seconds
        done, _ = self.run(lambda connection: raise_budget(connection, one, amount, until), crash)
        if done:
            self.truth.budgets[key] = replace(one, raised_by=amount, raised_until=until)

    @rule(pick=PICKS, crash=CRASHES)
    def remove(self, pick: int, crash: Any) -> None:
        if not self.truth.budgets:
            return
        key, one = picked(list(self.truth.budgets.items()), pick)
        if self.run(lambda connection: remove_budget(connection, one), crash)[0]:
            del self.truth.budgets[key]

    @rule(caller=st.sampled_from(CALLERS), units=st.integers(0, 4), crash=CRASHES)
    def buy(self, caller: tuple[str, str], units: int, crash: Any) -> None:
        attempt = secrets.token_hex(16)
        self.attempts.append(attempt)
        spender = Spender(self.team, *caller)
        self.reserve(attempt, spender, units, crash)
        if crash is not None and attempt not in self.truth.entries:
            self.reserve(attempt, spender, units, None)
        if crash == "after":
            self.reserve(attempt, spender, units, None)

    def reserve(self, attempt: str, spender: Spender, units: int, crash: Any) -> None:
        limits = self.truth.counting(spender)
        is_known, amount = attempt in self.truth.entries, units * MILLIONTHS
        refusing = [one for one in limits if not one.is_soft and self.used(one) + amount > one.cap(self.clock())]
        refusal = None
        try:
            done, passed = self.run(
                lambda connection: reserve(connection, attempt, Charge(spender, priced(units)), self.clock.sql), crash
            )
        except BudgetExceeded as exc:
            done, passed, refusal = False, None, exc
        if refusal is not None:
            assert not is_known
            assert refusal.use.budget in refusing
        if not done or is_known:
            assert not passed
            return
        assert not refusing
        places = {self.place(one) for one in limits}
        self.truth.entries[attempt] = Entry(spender, amount, self.clock(), places)
        told = {(one.use.budget.id, one.percent) for one in passed or ()}
        assert passed is None or told == {(one.id, percent) for one in limits if (percent := self.newly_told(one))}
        for one in limits:
            self.truth.told[self.place(one)] = self.newly_told(one) or self.truth.told.get(self.place(one), 0)

    def used(self, one: Budget) -> int:
        return self.truth.used(self.place(one), EntryState.RESERVED, EntryState.TAKEN)

    def newly_told(self, one: Budget) -> int | None:
        return threshold_passed(self.used(one), one.cap(self.clock()), self.truth.told.get(self.place(one), 0))

    @rule(pick=PICKS, is_taken=st.booleans(), crash=CRASHES, times=st.integers(1, 2))
    def settle(self, pick: int, crash: Any, times: int, *, is_taken: bool) -> None:
        if not self.attempts:
            return
        attempt = picked(self.attempts, pick)
        operation = take if is_taken else give_back
        for one in [crash, None][:times]:
            done, moved = self.run(lambda connection: operation(connection, attempt, now=self.clock.sql), one)
            entry = self.truth.entries.get(attempt)
            is_open = entry is not None and entry.state is EntryState.RESERVED
            assert moved in (None, is_open)
            if done and entry is not None and is_open:
                entry.state = EntryState.TAKEN if is_taken else EntryState.GIVEN_BACK

    @rule(seconds=st.sampled_from([1, 3600, 86_400, 7 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def windows_are_the_sums_of_their_entries(self) -> None:
        rows = self.runner.run(self.database.run(lambda connection: connection.execute(select(budget_windows))))
        found = {(row.budget_id, row.window_start): row for row in rows}
        limits = {one.id: one for one in self.truth.budgets.values()}
        for place in {place for entry in self.truth.entries.values() for place in entry.windows if place[0] in limits}:
            row = found[place]
            assert row.spent == self.truth.used(place, EntryState.TAKEN)
            assert row.reserved == self.truth.used(place, EntryState.RESERVED)
            assert row.told == self.truth.told[place]

    @invariant()
    def nothing_that_is_reserved_is_forgotten(self) -> None:
        self.clock.advance(1)
        found = self.runner.run(
            self.database.run(lambda connection: unsettled(connection, 0, 1000, self.team, self.clock.sql))
        )
        still = {key for key, entry in self.truth.entries.items() if entry.state is EntryState.RESERVED}
        assert {one.attempt for one in found} == still


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize(("kind", "examples"), [("memory", 200), ("postgres15", 15), ("postgres18", 25)])
def test_in_any_history_no_amount_is_counted_twice_or_lost(
    runner: asyncio.Runner, tmp_path: Path, postgres_servers: PostgresServers, kind: str, examples: int
) -> None:
    lending = opened(runner.run(url_of(kind, tmp_path, postgres_servers)))
    Histories.runner, Histories.database = runner, runner.run(lending.__aenter__())
    try:
        run_histories(Histories, examples, steps=20)
    finally:
        with suppress(asyncio.CancelledError):
            runner.run(lending.__aexit__(None, None, None))
