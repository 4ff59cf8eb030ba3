"""Stateful test of purchases under a budget: two replicas, random failures and crashes, as in test_state_machine.

After each step, the spent, reserved and remaining amounts add up to the budget, and each video is charged once.
"""

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from sqlalchemy import select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.budget_tables import ledger
from app.adapters.sql.engine import Database
from app.adapters.sql.tables import purchases
from app.domain.budget import Charge, EntryState, Spender
from app.domain.calendar import Window
from app.domain.purchase import PurchaseState
from app.services.purchases.request import PurchaseRequest, fingerprint
from tests.services.purchases.test_state_machine import Histories
from tests.support.directories import ACTOR, directory_at
from tests.support.histories import run_histories
from tests.support.picks import PICKS, picked
from tests.support.spending import Purchaser, budget, make_team, priced

MOST = 4
"""Credits of the budget; a video costs one."""

EXPECTED = {
    PurchaseState.SENT: {EntryState.RESERVED},
    PurchaseState.UNKNOWN: {EntryState.RESERVED},
    PurchaseState.STARTED: {EntryState.RESERVED, EntryState.TAKEN, EntryState.GIVEN_BACK},
    PurchaseState.REFUSED: {EntryState.GIVEN_BACK},
}


class BudgetHistories(Histories):
    """The histories of one member of a team with a budget."""

    def __init__(self) -> None:
        super().__init__()
        self.runner.run(self.prepare())
        self.ended: dict[str, bool] = {}

    async def prepare(self) -> None:
        self.team = await make_team(self.database, self.clock)
        directory = directory_at(self.database, self.clock)
        [name] = [team.name for team in await directory.teams.all() if team.id == self.team]
        member = await directory.teams.add_member(name, "anna", ACTOR)
        self.caller = Purchaser(self.database, self.clock, Spender(self.team, member.id, "key"))
        await self.caller.put(budget(self.team, MOST, Window.MONTH))

    def request(self, replica: int, key: str, prompt: str, *, retry_unknown: bool) -> PurchaseRequest:
        del replica
        charge = Charge(self.caller.spender, priced(1))
        return PurchaseRequest((self.team,), "generate", fingerprint("tool", {"p": prompt}), key, retry_unknown, charge)

    @rule(pick=PICKS, is_paid=st.booleans())
    def end_a_task(self, pick: int, *, is_paid: bool) -> None:
        videos = [video for made in self.backend.videos.values() for video in made]
        if not videos:
            return
        task_id = picked(videos, pick).task_id
        is_paid = self.ended.setdefault(task_id, is_paid)  # a task ends in one way, however often it is read
        self.runner.run(self.caller.ledger.settle_task(self.team, task_id, is_paid=is_paid))

    @invariant()
    def the_budget_adds_up(self) -> None:
        [use] = self.runner.run(self.caller.ledger.budgets_counting(self.caller.spender))
        rows = self.runner.run(self.rows())
        by_state = [row.entry_state for row in rows]
        of_window = [row for row in rows if use.start <= row.created_at < use.renews_at]
        counts = {state: sum(row.entry_state == state for row in of_window) for state in EntryState}
        assert use.reserved == counts[EntryState.RESERVED] * 1_000_000
        assert use.spent == counts[EntryState.TAKEN] * 1_000_000
        assert use.spent + use.reserved + use.left == MOST * 1_000_000
        assert use.left >= 0
        assert len(by_state) == len({row.attempt for row in rows})

    @invariant()
    def each_ledger_entry_matches_the_state_of_its_purchase(self) -> None:
        for row in self.runner.run(self.rows()):
            if row.purchase_state is not None:
                assert row.entry_state in EXPECTED[PurchaseState(row.purchase_state)]

    @invariant()
    def each_video_is_paid_for_once(self) -> None:
        by_callback = {row.callback_id: row.entry_state for row in self.runner.run(self.rows()) if row.callback_id}
        for video in (video for made in self.backend.videos.values() for video in made):
            state = by_callback[video.callback_id]
            if state == EntryState.GIVEN_BACK:
                assert self.ended[video.task_id] is False
            if state == EntryState.TAKEN:
                assert self.ended[video.task_id] is True

    async def rows(self) -> list[Any]:
        """Return the entries of the ledger with their purchases."""
        wanted = (
            select(
                ledger.c.attempt,
                ledger.c.created_at,
                ledger.c.state.label("entry_state"),
                purchases.c.state.label("purchase_state"),
                purchases.c.callback_id,
            )
            .select_from(ledger.outerjoin(purchases, purchases.c.attempt == ledger.c.attempt))
            .where(ledger.c.team_id == self.team)
        )

        async def operation(connection: AsyncConnection) -> list[Any]:
            return list((await connection.execute(wanted)).all())

        return await self.database.run(operation)


def test_a_budget_holds_in_random_histories(runner: asyncio.Runner, database: Database) -> None:
    BudgetHistories.runner, BudgetHistories.database = runner, database
    run_histories(BudgetHistories, 60, steps=15)
