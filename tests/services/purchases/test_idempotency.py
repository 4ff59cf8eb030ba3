"""Who may send under a key: replicas that race, a database that fails, and outcomes that are lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.memory.coordination import MemoryCoordination
from app.adapters.sql.purchases import SqlPurchases
from app.domain.errors import (
    BackendError,
    BackendTimeout,
    InternalError,
    InvalidRequest,
    OutcomeUnknown,
    RateLimited,
    Unauthorized,
)
from app.domain.purchase import SENDING_SECONDS, PurchaseState
from app.services.purchases.idempotency import MOST_CALLS, PurchaseService
from app.services.purchases.legacy_keys import LegacyIdempotencyKeys
from app.services.purchases.request import PurchaseRequest, PurchaseResult, Reconcile, fingerprint
from app.services.purchases.unaccepted_rows import UnacceptedPurchases
from tests.support.clock import HandClock, while_time_passes
from tests.support.databases import opened, purchases_at
from tests.support.faulty_purchases import FaultyPurchases
from tests.support.keeping import SIGNER

DAY = 86_400.0
T = TypeVar("T")
NONE_EARLIER = LegacyIdempotencyKeys(MemoryCoordination(lambda: 0.0), lambda: 0.0, lambda: DAY)


async def inline(purchase: Coroutine[Any, Any, T]) -> T:
    """Run a purchase with its caller."""
    return await purchase


async def nobody_knows(_callback_id: str) -> str | None:
    return None


def request(key: str | None = "key", prompt: str = "a cat", *, retry_unknown: bool = False) -> PurchaseRequest:
    return PurchaseRequest(("owner",), "generate", fingerprint("tool", {"prompt": prompt}), key, retry_unknown)


class Backend:
    """Counts what it is sent, and answers when it may."""

    def __init__(self) -> None:
        self.sent = 0
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def takes(self) -> str:
        self.sent += 1
        task_id = f"task-{self.sent}"
        self.reached.set()
        await self.go_on.wait()
        return task_id

    async def refuses(self) -> str:
        raise ACEDATACLOUD.error(BackendError)

    async def rejects_the_token(self) -> str:
        raise ACEDATACLOUD.error(Unauthorized)

    async def is_lost(self) -> str:
        self.sent += 1
        raise ACEDATACLOUD.error(OutcomeUnknown)


class Fleet:
    """Two replicas with one database."""

    def __init__(
        self, purchases: SqlPurchases, clock: HandClock, earlier: LegacyIdempotencyKeys = NONE_EARLIER
    ) -> None:
        self.purchases, self.clock = purchases, clock
        self.databases = [FaultyPurchases(purchases) for _ in range(2)]
        self.replicas = [
            PurchaseService(
                database,
                SIGNER,
                earlier,
                key_lives_seconds=DAY,
                key_fault=lambda: None,
                unaccepted=UnacceptedPurchases(clock, lambda _owner: True),
                backend=ACEDATACLOUD,
                clock=clock,
                sleep=clock.sleep,
            )
            for database in self.databases
        ]

    async def buy(
        self,
        send: Callable[[], Awaitable[str]],
        wanted: PurchaseRequest | None = None,
        *,
        replica: int = 0,
        reconcile: Reconcile = nobody_knows,
    ) -> PurchaseResult:
        return await self.replicas[replica].buy(wanted or request(), "callback", send, reconcile, inline)

    async def states(self) -> list[PurchaseState]:
        return [found.state for found in await self.purchases.newest(["owner"], 100)]


@pytest.fixture
async def fleet(clock: HandClock) -> AsyncIterator[Fleet]:
    async with opened(None) as database:
        fleet = Fleet(purchases_at(database, clock), clock)
        yield fleet
        for replica in fleet.replicas:
            await replica.aclose()


async def test_a_repeated_key_gets_the_first_task_on_every_replica(fleet: Fleet) -> None:
    backend = Backend()
    bought = [await fleet.buy(backend.takes, replica=replica) for replica in (0, 0, 1)]
    assert bought == [PurchaseResult("task-1", replayed=False), *[PurchaseResult("task-1", replayed=True)] * 2]
    assert backend.sent == 1


async def test_many_calls_at_once_send_once(fleet: Fleet) -> None:
    backend = Backend()
    calls = asyncio.gather(*(fleet.buy(backend.takes, replica=number % 2) for number in range(20)))
    bought = await while_time_passes(fleet.clock, calls, step=0.3)
    assert {one.task_id for one in bought} == {"task-1"}
    assert backend.sent == 1


async def test_calls_without_a_key_all_send_and_are_all_recorded(fleet: Fleet) -> None:
    backend = Backend()
    for _ in range(2):
        await fleet.buy(backend.takes, request(None))
    assert backend.sent == 2
    assert await fleet.states() == [PurchaseState.STARTED] * 2


async def test_other_arguments_are_refused(fleet: Fleet) -> None:
    backend = Backend()
    await fleet.buy(backend.takes)
    with pytest.raises(InvalidRequest):
        await fleet.buy(backend.takes, request(prompt="a dog"))
    assert backend.sent == 1


async def test_a_refused_purchase_may_be_tried_again(fleet: Fleet) -> None:
    backend = Backend()
    with pytest.raises(BackendError):
        await fleet.buy(backend.refuses)
    assert (await fleet.buy(backend.takes, request(prompt="a dog"))).task_id == "task-1"
    assert sorted(await fleet.states()) == [PurchaseState.REFUSED, PurchaseState.STARTED]


async def test_a_token_that_the_backend_does_not_know_leaves_no_row(fleet: Fleet) -> None:
    for wanted in (request(), request(None)):
        with pytest.raises(Unauthorized):
            await fleet.buy(Backend().rejects_the_token, wanted)
    assert await fleet.states() == []


@pytest.mark.parametrize("kind", [OutcomeUnknown, RuntimeError, OSError, KeyError, InternalError, BackendTimeout])
async def test_whatever_breaks_a_submission_leaves_its_outcome_unknown_at_once(
    fleet: Fleet, kind: type[Exception]
) -> None:
    backend = Backend()

    async def breaks() -> str:
        backend.sent += 1
        raise kind

    with pytest.raises(OutcomeUnknown):
        await fleet.buy(breaks)
    for replica in (0, 1):
        with pytest.raises(OutcomeUnknown):
            await fleet.buy(backend.takes, replica=replica)
    assert backend.sent == 1


async def test_a_caller_who_agrees_buys_in_the_place_of_an_unknown_outcome(fleet: Fleet) -> None:
    backend = Backend()
    with pytest.raises(OutcomeUnknown):
        await fleet.buy(backend.is_lost)
    agreed = request(retry_unknown=True)
    calls = asyncio.gather(
        *(fleet.buy(backend.takes, agreed, replica=number % 2) for number in range(6)), return_exceptions=True
    )
    bought = await while_time_passes(fleet.clock, calls, step=0.3)
    assert {one.task_id for one in bought if isinstance(one, PurchaseResult)} == {"task-2"}
    assert backend.sent == 2


async def test_agreement_is_about_the_outcome_that_was_unknown_when_the_call_came(fleet: Fleet) -> None:
    backend = Backend()
    backend.go_on.clear()
    token_status = asyncio.create_task(fleet.buy(backend.takes))
    await backend.reached.wait()
    waiting = asyncio.create_task(fleet.buy(backend.takes, request(retry_unknown=True), replica=1))
    with pytest.raises((OutcomeUnknown, RateLimited)):
        await while_time_passes(fleet.clock, waiting)
    backend.go_on.set()
    assert (await token_status).task_id == "task-1"
    assert backend.sent == 1


async def test_an_unknown_outcome_becomes_the_task_that_reconciliation_finds(fleet: Fleet) -> None:
    backend = Backend()
    with pytest.raises(OutcomeUnknown):
        await fleet.buy(backend.is_lost)

    async def found(callback_id: str) -> str | None:
        return "task-9" if callback_id == "callback" else None

    assert await fleet.buy(backend.takes, reconcile=found) == PurchaseResult("task-9", replayed=True)
    assert await fleet.buy(backend.takes, replica=1) == PurchaseResult("task-9", replayed=True)


async def test_a_purchase_whose_sender_died_becomes_unknown(fleet: Fleet) -> None:
    backend = Backend()
    backend.go_on.clear()
    dead = asyncio.create_task(fleet.buy(backend.takes))
    await backend.reached.wait()
    fleet.databases[0].is_dead = True
    fleet.clock.advance(SENDING_SECONDS + 1)
    with pytest.raises(OutcomeUnknown):
        await fleet.buy(backend.takes, replica=1)
    assert backend.sent == 1
    dead.cancel()
    await asyncio.wait([dead])


async def test_a_key_is_forgotten_after_a_day(fleet: Fleet) -> None:
    backend = Backend()
    await fleet.buy(backend.takes)
    fleet.clock.advance(DAY - 1)
    assert (await fleet.buy(backend.takes, replica=1)).replayed
    fleet.clock.advance(2)
    assert (await fleet.buy(backend.takes, request(prompt="a dog"))) == PurchaseResult("task-2", replayed=False)


async def test_an_unknown_outcome_is_remembered_for_as_long_as_it_is_listed(fleet: Fleet) -> None:
    backend = Backend()
    with pytest.raises(OutcomeUnknown):
        await fleet.buy(backend.is_lost)
    fleet.clock.advance(30 * DAY)
    with pytest.raises(OutcomeUnknown):
        await fleet.buy(backend.takes, replica=1)
    assert backend.sent == 1
    assert (await fleet.buy(backend.takes, request(prompt="a dog"))).task_id == "task-2", "another video"


class Broken(LegacyIdempotencyKeys):
    """Old keys whose store answers what nobody expects."""

    def __init__(self) -> None:
        super().__init__(MemoryCoordination(lambda: 0.0), lambda: 0.0, lambda: 0.0)

    async def task_of(self, *_names: object, **_options: object) -> str | None:
        raise ValueError("odd")


async def test_a_fault_before_anything_was_sent_leaves_the_key_free(fleet: Fleet) -> None:
    backend, broken = Backend(), Fleet(fleet.purchases, fleet.clock, Broken())
    with pytest.raises(InternalError, match="Nothing was sent"):
        await broken.buy(backend.takes)
    assert await fleet.states() == [PurchaseState.REFUSED]
    assert (await fleet.buy(backend.takes)).task_id == "task-1"


async def test_without_a_database_keys_are_refused_and_other_calls_go_through(fleet: Fleet) -> None:
    backend = Backend()
    fleet.databases[0].is_out = True
    with pytest.raises(InternalError, match="Nothing was sent"):
        await fleet.buy(backend.takes)
    assert (await fleet.buy(backend.takes, request(None))).task_id == "task-1"
    assert await fleet.states() == []
    fleet.databases[0].is_out = False
    await while_time_passes(fleet.clock, _until(lambda: _are(fleet, [PurchaseState.REFUSED, PurchaseState.STARTED])))


async def test_a_claim_whose_answer_was_lost_sends_nothing_and_frees_the_key(fleet: Fleet) -> None:
    backend = Backend()
    fleet.databases[0].faults = ["after"]
    with pytest.raises(InternalError, match="Nothing was sent"):
        await fleet.buy(backend.takes)
    assert (await while_time_passes(fleet.clock, fleet.buy(backend.takes, replica=1))).task_id == "task-1"


async def test_who_cannot_be_recorded_does_not_wait_for_the_database_again(fleet: Fleet) -> None:
    backend = Backend()
    fleet.databases[0].is_out = True
    for wanted in (request(), request(None)):
        asked = fleet.databases[0].asked
        with suppress(InternalError):
            await fleet.buy(backend.takes, wanted)
        assert fleet.databases[0].asked == asked + 1
    fleet.databases[0].is_out = False
    await while_time_passes(fleet.clock, _until(lambda: _are(fleet, [PurchaseState.REFUSED, PurchaseState.STARTED])))


async def test_an_outcome_that_the_database_did_not_take_is_written_later(fleet: Fleet) -> None:
    backend = Backend()
    fleet.databases[0].faults = [None, "before", "before", "before"]
    assert (await fleet.buy(backend.takes)).task_id == "task-1"
    await while_time_passes(fleet.clock, _until(lambda: _are(fleet, [PurchaseState.STARTED])))
    assert (await fleet.buy(backend.takes, replica=1)).task_id == "task-1"
    assert backend.sent == 1


async def test_outcomes_are_written_once_more_at_the_end(fleet: Fleet) -> None:
    backend = Backend()
    fleet.databases[0].faults = [None, "before"]
    await fleet.buy(backend.takes)
    await fleet.replicas[0].aclose()
    assert await fleet.states() == [PurchaseState.STARTED]


async def test_one_token_has_a_bounded_number_of_calls_with_keys(fleet: Fleet) -> None:
    backend = Backend()
    backend.go_on.clear()
    calls = [asyncio.create_task(fleet.buy(backend.takes, request(f"key-{n}"))) for n in range(MOST_CALLS)]
    while backend.sent < MOST_CALLS:
        await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await fleet.buy(backend.takes, request("one more"))
    backend.go_on.set()
    await asyncio.gather(*calls)
    assert (await fleet.buy(backend.takes, request("one more"))).task_id == f"task-{MOST_CALLS + 1}"


async def _are(fleet: Fleet, states: list[PurchaseState]) -> bool:
    return sorted(await fleet.states()) == states


async def _until(happened: Callable[[], Awaitable[bool]]) -> None:
    while not await happened():
        await asyncio.sleep(0)
