"""Costly work gets at most one turn in each iteration of the event loop, round-robin between tenants."""

import asyncio

from app.services.limits.work_turns import BYTES_IN_AN_ITERATION, SMALL_BATCH, SMALL_BODY_BYTES, WorkTurns


async def work(turns: WorkTurns, tenant: str, order: list[str]) -> None:
    await turns.wait(tenant)
    order.append(tenant)


async def iteration() -> None:
    await asyncio.sleep(0)


def started(turns: WorkTurns, tenants: str, order: list[str]) -> list[asyncio.Task[None]]:
    """Start one piece of work for each letter of `tenants`, which names its tenant."""
    return [asyncio.create_task(work(turns, tenant, order)) for tenant in tenants]


async def test_one_piece_of_work_runs_in_an_iteration() -> None:
    turns, order = WorkTurns(lambda _tenant: True), list[str]()
    working = started(turns, "aabbcc", order)
    counts = []
    while len(order) < len(working):
        before = len(order)
        await iteration()
        counts.append(len(order) - before)
    assert max(counts) == 1


async def test_tenants_take_turns() -> None:
    turns, order = WorkTurns(lambda _tenant: True), list[str]()
    await asyncio.gather(*started(turns, "aaaaab", order))
    assert order == list("aabaaa") or order == list("abaaaa")


async def test_a_tenant_that_is_not_accepted_does_not_hold_up_others() -> None:
    turns, order = WorkTurns("c".__eq__), list[str]()
    await asyncio.gather(*started(turns, "0123456789c", order))
    assert order.index("c") <= 2


async def test_cancelled_work_leaves_its_turn() -> None:
    turns, order = WorkTurns(lambda _tenant: True), list[str]()
    working = started(turns, "aab", order)
    await iteration()
    working[1].cancel()
    await asyncio.wait(working)
    assert order == ["a", "b"]
    await work(turns, "c", order)
    await asyncio.gather(*started(turns, "c", order))
    assert order == ["a", "b", "c", "c"]


async def test_longer_work_is_followed_by_iterations_without_any() -> None:
    turns, order = WorkTurns(lambda _tenant: True), list[str]()
    longer = [asyncio.create_task(long_work(turns, tenant, order)) for tenant in "ab"]
    counts = []
    while len(order) < len(longer):
        before = len(order)
        await iteration()
        counts.append(len(order) - before)
    first, second = (number for number, count in enumerate(counts) if count)
    assert second - first >= 8


async def long_work(turns: WorkTurns, tenant: str, order: list[str]) -> None:
    await turns.wait_for_body(tenant, 8 * BYTES_IN_AN_ITERATION)
    order.append(tenant)


async def test_small_work_needs_no_turn() -> None:
    turns = WorkTurns(lambda _tenant: True)
    await turns.wait("a", iterations=1000)
    async with asyncio.timeout(0):  # nothing below gives the event loop a turn
        await turns.wait_for_batch("b", SMALL_BATCH)
        await turns.wait_for_body("b", SMALL_BODY_BYTES)
