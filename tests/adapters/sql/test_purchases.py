"""Purchases in SQLite and PostgreSQL: holders of keys, allowed changes of state, lists and deletion."""

import asyncio
import secrets

import pytest

from app.adapters.sql.engine import Database
from app.adapters.sql.purchases import MAX_CALLBACK_TASKS, SqlPurchases
from app.domain.purchase import SENDING_SECONDS, KeyName, NewPurchase, PurchaseState
from tests.support.clock import HandClock
from tests.support.databases import BACKEND, opened, purchases_at

DAY = 86_400.0


@pytest.fixture
def purchases(database: Database, clock: HandClock) -> SqlPurchases:
    return purchases_at(database, clock)


def new_purchase(
    key_hash: str | None = "key", owner: str = "owner", callback_id: str | None = None, *, request: str = "request"
) -> NewPurchase:
    keys = () if key_hash is None else (KeyName(owner, key_hash, request),)
    return NewPurchase(secrets.token_hex(16), owner, "generate", request, keys, callback_id)


async def test_one_of_many_concurrent_claims_gets_the_key(purchases: SqlPurchases) -> None:
    callers = [new_purchase() for _ in range(100)]
    found = await asyncio.gather(*map(purchases.claim, callers))
    [winner] = [caller for caller, holder in zip(callers, found, strict=True) if holder is None]
    assert {holder.attempt for holder in found if holder is not None} == {winner.attempt}


async def test_a_claim_may_be_repeated(purchases: SqlPurchases) -> None:
    mine = new_purchase()
    assert [await purchases.claim(mine), await purchases.claim(mine)] == [None, None]


async def test_a_repeated_claim_writes_because_the_first_commit_may_not_be_on_the_standby(
    purchases: SqlPurchases, clock: HandClock
) -> None:
    mine = new_purchase(callback_id="callback")
    await purchases.claim(mine)
    clock.advance(5)
    await purchases.claim(mine)
    found = await purchases.of_callback("callback")
    assert found is not None
    assert (found.created_at, found.changed_at) == (clock() - 5, clock())


async def test_keys_belong_to_their_owner(purchases: SqlPurchases) -> None:
    assert await purchases.claim(new_purchase()) is None
    assert await purchases.claim(new_purchase(owner="other")) is None


async def test_purchases_without_a_key_never_conflict(purchases: SqlPurchases) -> None:
    assert [await purchases.claim(new_purchase(None)) for _ in range(3)] == [None] * 3


async def test_a_recorded_purchase_is_read_as_it_was_written(purchases: SqlPurchases, clock: HandClock) -> None:
    mine = new_purchase(callback_id="callback")
    await purchases.claim(mine)
    clock.advance(5)
    found = await purchases.of_callback("callback")
    assert found is not None
    assert NewPurchase(found.attempt, found.owner, found.action, found.request_hash, mine.keys, "callback") == mine
    assert (found.state, found.task_id, found.created_at) == (PurchaseState.SENT, None, clock() - 5)
    assert found.age_seconds == pytest.approx(5)


@pytest.mark.parametrize("state", [PurchaseState.STARTED, PurchaseState.UNKNOWN])
async def test_a_started_or_unknown_outcome_keeps_the_key(purchases: SqlPurchases, state: PurchaseState) -> None:
    mine = new_purchase()
    await purchases.claim(mine)
    assert await purchases.record_outcome(mine.attempt, state, "task" if state is PurchaseState.STARTED else None)
    holder = await purchases.claim(new_purchase())
    assert holder is not None
    assert (holder.attempt, holder.state) == (mine.attempt, state)


async def test_a_refused_purchase_releases_its_key(purchases: SqlPurchases) -> None:
    mine = new_purchase()
    await purchases.claim(mine)
    assert await purchases.record_outcome(mine.attempt, PurchaseState.REFUSED)
    assert await purchases.claim(new_purchase()) is None


async def test_an_unknown_outcome_is_resolved_only_by_its_task(purchases: SqlPurchases) -> None:
    mine = new_purchase()
    await purchases.claim(mine)
    await purchases.record_outcome(mine.attempt, PurchaseState.UNKNOWN)
    assert not await purchases.record_outcome(mine.attempt, PurchaseState.REFUSED)
    assert await purchases.record_outcome(mine.attempt, PurchaseState.STARTED, "task")
    assert not await purchases.record_outcome(mine.attempt, PurchaseState.UNKNOWN)
    [found] = await purchases.newest(["owner"], 10)
    assert (found.state, found.task_id) == (PurchaseState.STARTED, "task")


async def test_one_of_many_concurrent_callers_takes_over_a_key(purchases: SqlPurchases) -> None:
    earlier = new_purchase()
    await purchases.claim(earlier)
    await purchases.record_outcome(earlier.attempt, PurchaseState.UNKNOWN)
    callers = [new_purchase() for _ in range(20)]
    holder = await purchases.claim(callers[0])
    assert holder is not None
    taken = await asyncio.gather(*(purchases.take_over(holder, caller) for caller in callers))
    assert taken.count(True) == 1
    now = await purchases.claim(new_purchase())
    assert now is not None
    assert now.attempt == callers[taken.index(True)].attempt
    assert {found.attempt for found in await purchases.newest(["owner"], 10)} == {earlier.attempt, now.attempt}


@pytest.mark.parametrize("ends", ["refused", "forgotten"])
async def test_the_key_of_a_refused_purchase_returns_to_the_unknown_outcome(purchases: SqlPurchases, ends: str) -> None:
    earlier, mine = new_purchase(), new_purchase()
    await purchases.claim(earlier)
    await purchases.record_outcome(earlier.attempt, PurchaseState.UNKNOWN)
    holder = await purchases.claim(mine)
    assert holder is not None
    assert await purchases.take_over(holder, mine)
    if ends == "refused":
        await purchases.record_outcome(mine.attempt, PurchaseState.REFUSED)
    else:
        await purchases.delete_unbought(mine.attempt)
    again = await purchases.claim(new_purchase())
    assert again is not None
    assert (again.attempt, again.state) == (earlier.attempt, PurchaseState.UNKNOWN)


@pytest.mark.parametrize("first_ends", ["refused", "forgotten"])
@pytest.mark.parametrize("in_order", [True, False])
async def test_a_returned_key_skips_purchases_that_bought_nothing(
    purchases: SqlPurchases, first_ends: str, *, in_order: bool
) -> None:
    unknown, second, third = new_purchase(), new_purchase(), new_purchase()
    await purchases.claim(unknown)
    await purchases.record_outcome(unknown.attempt, PurchaseState.UNKNOWN)
    for mine in (second, third):
        holder = await purchases.claim(mine)
        assert holder is not None
        assert await purchases.take_over(holder, mine)
    for ended in (second, third) if in_order else (third, second):
        if first_ends == "refused":
            await purchases.record_outcome(ended.attempt, PurchaseState.REFUSED)
        else:
            await purchases.delete_unbought(ended.attempt)
    holder = await purchases.claim(new_purchase())
    assert holder is not None
    assert (holder.attempt, holder.state) == (unknown.attempt, PurchaseState.UNKNOWN)


async def test_a_purchase_whose_state_has_changed_is_not_taken_over(purchases: SqlPurchases) -> None:
    earlier = new_purchase()
    await purchases.claim(earlier)
    holder = await purchases.claim(new_purchase())
    await purchases.record_outcome(earlier.attempt, PurchaseState.STARTED, "task")
    assert holder is not None
    assert not await purchases.take_over(holder, new_purchase())


async def test_a_purchase_that_was_sent_while_the_database_was_out_is_recorded(purchases: SqlPurchases) -> None:
    mine = new_purchase(None)
    await purchases.record(mine, PurchaseState.STARTED, "task")
    await purchases.record(mine, PurchaseState.STARTED, "task")
    assert [found.task_id for found in await purchases.newest(["owner"], 10)] == ["task"]


async def test_a_claim_committed_after_its_own_refusal_takes_no_key(purchases: SqlPurchases) -> None:
    mine = new_purchase()
    await purchases.record(mine, PurchaseState.REFUSED, None)
    await purchases.claim(mine)
    assert await purchases.claim(new_purchase()) is None


async def test_a_take_over_after_its_own_refusal_takes_no_key(purchases: SqlPurchases) -> None:
    unknown, mine = new_purchase(), new_purchase()
    await purchases.claim(unknown)
    await purchases.record_outcome(unknown.attempt, PurchaseState.UNKNOWN)
    holder = await purchases.claim(mine)
    assert holder is not None
    await purchases.record(mine, PurchaseState.REFUSED, None)
    assert not await purchases.take_over(holder, mine)
    again = await purchases.claim(new_purchase())
    assert again is not None
    assert (again.attempt, again.state) == (unknown.attempt, PurchaseState.UNKNOWN)


async def test_newest_returns_pages_with_the_newest_first(purchases: SqlPurchases, clock: HandClock) -> None:
    made = []
    for number in range(5):
        mine = new_purchase(None)
        await purchases.claim(mine)
        await purchases.record_outcome(mine.attempt, PurchaseState.STARTED, f"task-{number}")
        clock.advance(0 if number == 2 else 1)  # two have the same time
        made.append(f"task-{number}")
    await purchases.claim(new_purchase(None, owner="other"))
    first = await purchases.newest(["owner"], 3)
    rest = await purchases.newest(["owner"], 3, before=(first[-1].created_at, first[-1].attempt))
    listed = [found.task_id or "" for found in (*first, *rest)]
    assert sorted(listed) == made
    assert [listed[0], listed[-1]] == ["task-4", "task-0"]
    assert len(await purchases.newest(["owner"], 9, outcomes=[PurchaseState.SENT])) == 0


async def test_a_submission_whose_sender_died_has_an_unknown_outcome(purchases: SqlPurchases, clock: HandClock) -> None:
    lost, settled, under_way = new_purchase(None), new_purchase(None), new_purchase(None)
    await purchases.claim(lost)
    await purchases.claim(settled)
    await purchases.record_outcome(settled.attempt, PurchaseState.UNKNOWN)
    clock.advance(SENDING_SECONDS + 1)
    await purchases.claim(under_way)

    async def found(*outcomes: PurchaseState) -> set[str]:
        listed = await purchases.newest(["owner"], 9, outcomes=outcomes)
        assert {one.outcome for one in listed} <= set(outcomes)
        return {one.attempt for one in listed}

    assert await found(PurchaseState.UNKNOWN) == {lost.attempt, settled.attempt}
    assert await found(PurchaseState.SENT) == {under_way.attempt}
    assert await found(PurchaseState.SENT, PurchaseState.UNKNOWN) == {lost.attempt, settled.attempt, under_way.attempt}
    assert await found(PurchaseState.STARTED) == set()


async def test_task_ids_complete_a_prefix_of_the_owners_own(purchases: SqlPurchases, clock: HandClock) -> None:
    for owner, task_id in (("owner", "a%1"), ("owner", "a%2"), ("owner", "ab3"), ("other", "a%4")):
        mine = new_purchase(None, owner)
        await purchases.claim(mine)
        await purchases.record_outcome(mine.attempt, PurchaseState.STARTED, task_id)
        clock.advance(1)
    assert await purchases.task_ids(["owner"], "a%", 10) == ["a%2", "a%1"]
    assert await purchases.task_ids(["owner"], "", 2) == ["ab3", "a%2"]


async def test_only_the_first_callback_is_recorded(purchases: SqlPurchases) -> None:
    mine = new_purchase(callback_id="callback")
    await purchases.claim(mine)
    assert [await purchases.record_callback(mine.attempt), await purchases.record_callback(mine.attempt)] == [
        True,
        False,
    ]


async def test_callback_claims_are_bounded_and_keep_the_first_and_the_last(
    purchases: SqlPurchases, clock: HandClock
) -> None:
    named = [f"task-{number}" for number in range(MAX_CALLBACK_TASKS + 2)]
    for task_id in (*named, named[0]):
        await purchases.add_callback_task("callback", task_id)
        clock.advance(1)
    assert await purchases.callback_tasks("callback") == [*named[: MAX_CALLBACK_TASKS - 1], named[-1]]


async def test_old_rows_are_deleted(purchases: SqlPurchases, clock: HandClock) -> None:
    started, refused, recent = new_purchase(None), new_purchase(None), new_purchase(None)
    for one in (started, refused):
        await purchases.claim(one)
    await purchases.record_outcome(started.attempt, PurchaseState.STARTED, "task")
    await purchases.record_outcome(refused.attempt, PurchaseState.REFUSED)
    await purchases.add_callback_task("callback", "task")
    clock.advance(2 * DAY)
    await purchases.claim(recent)
    assert await purchases.delete_old(refused_seconds=DAY, seconds=90 * DAY) == 1
    assert {found.attempt for found in await purchases.newest(["owner"], 9)} == {started.attempt, recent.attempt}
    assert await purchases.callback_tasks("callback") == []
    clock.advance(89 * DAY)
    assert await purchases.delete_old(refused_seconds=DAY, seconds=90 * DAY) == 1


async def test_old_rows_are_deleted_in_batches(database: Database, clock: HandClock) -> None:
    purchases = SqlPurchases(database, BACKEND, clock.sql, batch_size=3)
    for number in range(10):
        await purchases.claim(new_purchase(f"key-{number}"))
        await purchases.add_callback_task(f"callback-{number}", "task")
    clock.advance(91 * DAY)
    await purchases.claim(new_purchase(None))
    assert await purchases.delete_old(refused_seconds=DAY, seconds=90 * DAY) == 10
    assert len(await purchases.newest(["owner"], 20)) == 1
    assert await purchases.callback_tasks("callback-0") == []


async def test_a_forgotten_purchase_is_deleted_with_its_key(purchases: SqlPurchases) -> None:
    mine = new_purchase()
    await purchases.claim(mine)
    await purchases.delete_unbought(mine.attempt)
    assert await purchases.newest(["owner"], 9) == []
    assert await purchases.claim(new_purchase()) is None


def purchase_with_names(*names: str) -> NewPurchase:
    """Return a purchase whose key has these names, as in a replica with several secret keys."""
    keys = tuple(KeyName(f"owner under {name}", f"key under {name}", f"request under {name}") for name in names)
    return NewPurchase(secrets.token_hex(16), keys[0].owner, "generate", "request", keys)


ROTATION = [("old",), ("old", "new"), ("new", "old")]
"""Sets of secret keys that replicas may have at the same time during a rotation."""


@pytest.mark.parametrize("first", ROTATION)
@pytest.mark.parametrize("second", ROTATION)
async def test_a_key_is_found_under_each_name(
    purchases: SqlPurchases, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    mine = purchase_with_names(*first)
    assert await purchases.claim(mine) is None
    holder = await purchases.claim(purchase_with_names(*second))
    assert holder is not None
    assert holder.attempt == mine.attempt
    assert holder.request_hash in {f"request under {name}" for name in second}


async def test_one_of_many_claims_with_overlapping_names_gets_the_key(purchases: SqlPurchases) -> None:
    for _ in range(10):
        callers = [purchase_with_names(*names) for names in ROTATION * 4]
        found = await asyncio.gather(*map(purchases.claim, callers))
        [winner] = [caller for caller, holder in zip(callers, found, strict=True) if holder is None]
        assert {holder.attempt for holder in found if holder is not None} == {winner.attempt}
        await purchases.record_outcome(winner.attempt, PurchaseState.REFUSED)


async def test_a_take_over_holds_the_key_under_every_name(purchases: SqlPurchases) -> None:
    earlier, mine = purchase_with_names("old"), purchase_with_names("new", "old")
    await purchases.claim(earlier)
    await purchases.record_outcome(earlier.attempt, PurchaseState.UNKNOWN)
    holder = await purchases.claim(mine)
    assert holder is not None
    assert await purchases.take_over(holder, mine)
    for names in ROTATION:
        found = await purchases.claim(purchase_with_names(*names))
        assert found is not None
        assert found.attempt == mine.attempt


async def test_a_take_over_leaves_names_that_another_purchase_holds(purchases: SqlPurchases) -> None:
    under_new, under_old = purchase_with_names("new"), purchase_with_names("old")
    for one in (under_new, under_old):
        await purchases.claim(one)
    await purchases.record_outcome(under_new.attempt, PurchaseState.STARTED, "task")
    await purchases.record_outcome(under_old.attempt, PurchaseState.UNKNOWN)
    [holder] = [one for one in [await purchases.claim(purchase_with_names("old"))] if one is not None]
    assert await purchases.take_over(holder, purchase_with_names("old", "new"))
    found = await purchases.claim(purchase_with_names("new"))
    assert found is not None
    assert found.attempt == under_new.attempt


async def test_newest_includes_purchases_under_former_owner_names(purchases: SqlPurchases, clock: HandClock) -> None:
    for number, owner in enumerate(("former", "current", "other")):
        mine = new_purchase(None, owner)
        await purchases.claim(mine)
        await purchases.record_outcome(mine.attempt, PurchaseState.STARTED, f"task-{number}")
        clock.advance(1)
    assert [found.task_id for found in await purchases.newest(["current", "former"], 9)] == ["task-1", "task-0"]
    assert await purchases.task_ids(["current", "former"], "", 9) == ["task-1", "task-0"]


async def test_purchases_in_memory_are_bounded(clock: HandClock) -> None:
    async with opened(None) as database:
        purchases = SqlPurchases(database, BACKEND, clock.sql, most_in_memory=100)
        for _ in range(300):
            last = new_purchase(None)
            await purchases.claim(last)
            clock.advance(1)
        kept = await purchases.newest(["owner"], 300)
    assert 100 <= len(kept) <= 105
    assert kept[0].attempt == last.attempt


async def test_task_id_completion_is_case_sensitive(purchases: SqlPurchases) -> None:
    mine = new_purchase(None)
    await purchases.claim(mine)
    await purchases.record_outcome(mine.attempt, PurchaseState.STARTED, "Task")
    assert [await purchases.task_ids(["owner"], prefix, 9) for prefix in ("T", "t")] == [["Task"], []]


@pytest.mark.parametrize("ends", ["refused", "forgotten"])
async def test_a_returned_key_has_the_earlier_request_hash_again(purchases: SqlPurchases, ends: str) -> None:
    earlier = new_purchase(request="a fox")
    await purchases.claim(earlier)
    await purchases.record_outcome(earlier.attempt, PurchaseState.UNKNOWN)
    mine = new_purchase(request="a wolf")
    holder = await purchases.claim(mine)
    assert holder is not None
    assert await purchases.take_over(holder, mine)
    if ends == "refused":
        await purchases.record_outcome(mine.attempt, PurchaseState.REFUSED)
    else:
        await purchases.delete_unbought(mine.attempt)
    holder = await purchases.claim(new_purchase(request="a wolf"))
    assert holder is not None
    assert (holder.attempt, holder.request_hash) == (earlier.attempt, "a fox")
