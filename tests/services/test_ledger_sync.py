"""What a replica learns after it could not hear the others for a while, and what it refuses until then."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.adapters.memory_coordination import MemoryCoordination
from app.domain.errors import InternalError
from app.domain.reservation import KEPT_SECONDS, Reservation, ReservationState
from app.services.ledger import Ledger
from app.services.ledger_format import LedgerFormat
from app.services.ledger_sync import CHUNK, MOST_SECONDS, SETTLE_SECONDS
from app.services.reservation_keys import Claim
from app.services.reservations import Reservations
from tests.support.clock import HandClock, while_time_passes
from tests.support.keeping import RESERVATIONS, SIGNER

KEYS = [f"luma-mcp:tests:{{tenant}}:reservation:2:{number}" for number in range(5 * CHUNK)]


class Hub:
    """The store and the channel that several replicas share; messages go to whoever listens now."""

    def __init__(self, clock: HandClock) -> None:
        self.store = MemoryCoordination(clock)
        self.replicas: list[Wire] = []
        self.messages: list[bytes] = []


class Wire(MemoryCoordination):
    """One replica's way to the hub, whose channel the test opens and breaks."""

    def __init__(self, hub: Hub, clock: HandClock) -> None:
        super().__init__(clock)
        self._hub = hub
        self._changed: list[Callable[[bool], None]] = []
        self.is_open = False
        self.is_silent = False
        hub.replicas.append(self)
        self.get, self.replace = hub.store.get, hub.store.replace  # type: ignore[method-assign]
        self.put_if_absent, self.seconds_left = hub.store.put_if_absent, hub.store.seconds_left  # type: ignore[method-assign]

    def follow_channel(self, changed: Callable[[bool], None]) -> None:
        self._changed.append(changed)
        changed(self.is_open)

    def turn(self, *, is_open: bool) -> None:
        self.is_open = is_open
        for changed in self._changed:
            changed(is_open)

    async def publish(self, message: bytes) -> int:
        self._hub.messages.append(message)
        listening = [wire for wire in self._hub.replicas if wire.is_open]
        for wire in listening:
            if not wire.is_silent:
                await MemoryCoordination.publish(wire, message)
        return len(listening)


class Replica:
    def __init__(self, hub: Hub, clock: HandClock) -> None:
        self.wire = Wire(hub, clock)
        self.ledger = Ledger(self.wire, SIGNER, clock, clock.sleep, network_sleep=clock.sleep)
        self.reservations = Reservations(self.ledger, RESERVATIONS, clock, clock, clock.sleep)
        self.bought = 0

    async def buy(self) -> str:
        async def send() -> str:
            self.bought += 1
            return "task-1"

        async def became(_ticket: str) -> str | None:
            return None

        return (await self.reservations.buy(Claim("tenant", "key", "print"), None, send, became)).task_id


@asynccontextmanager
async def replicas(clock: HandClock, count: int) -> AsyncIterator[tuple[Hub, list[Replica]]]:
    hub = Hub(clock)
    started = [Replica(hub, clock) for _ in range(count)]
    for replica in started:
        replica.wire.turn(is_open=True)
    await settled()
    try:
        yield hub, started
    finally:
        for replica in started:
            await replica.ledger.aclose()


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def empty(hub: Hub) -> None:
    await hub.store.aclose()


def bought(key: str, clock: HandClock) -> Reservation:
    return Reservation(key, "print", "holder", ReservationState.DONE, clock(), task_id="task-0")


async def test_a_purchase_that_was_missed_is_learnt_when_the_channel_opens_again(clock: HandClock) -> None:
    async with replicas(clock, 2) as (hub, (one, other)):
        other.wire.turn(is_open=False)
        await one.buy()
        other.wire.turn(is_open=True)
        await settled()
        clock.advance(SETTLE_SECONDS)
        await settled()
        await empty(hub)
        assert await other.buy() == "task-1"
        assert (one.bought, other.bought) == (1, 0)


async def test_a_replica_that_hears_nobody_waits_for_its_channel_and_for_what_it_missed(clock: HandClock) -> None:
    async with replicas(clock, 2) as (hub, (one, other)):
        other.wire.turn(is_open=False)
        await one.buy()
        await empty(hub)
        buying = asyncio.create_task(other.buy())
        await settled()
        other.wire.turn(is_open=True)
        assert await while_time_passes(clock, buying, step=0.1) == "task-1"
        assert (one.bought, other.bought) == (1, 0)


async def test_a_replica_whose_channel_stays_broken_buys_under_no_key_that_it_does_not_remember(
    clock: HandClock,
) -> None:
    async with replicas(clock, 1) as (_, (one,)):
        await one.buy()
        one.wire.turn(is_open=False)
        assert await one.buy() == "task-1", "what it remembers is given again"
        another = Replica(Hub(clock), clock)
        with pytest.raises(InternalError, match="Nothing was sent"):
            await while_time_passes(clock, another.buy(), step=0.5)
        assert another.bought == 0


async def test_a_replica_that_does_not_hear_its_own_echo_sends_nothing(clock: HandClock) -> None:
    """The connection is open and leads nowhere: nobody has noticed yet."""
    async with replicas(clock, 2) as (_, (one, other)):
        one.wire.is_silent = True
        with pytest.raises(InternalError, match="Nothing was sent"):
            await while_time_passes(clock, one.buy(), step=0.5)
        one.wire.is_silent = False
        assert await other.buy() == "task-1", "and the key is free again"
        assert (one.bought, other.bought) == (0, 1)


async def test_a_replica_that_never_answers_delays_the_others_for_so_long_and_no_longer(clock: HandClock) -> None:
    async with replicas(clock, 2) as (_, (one, other)):
        other.wire.is_silent = True
        one.wire.turn(is_open=False)
        one.wire.turn(is_open=True)
        await settled()
        clock.advance(SETTLE_SECONDS)
        await settled()
        buying = asyncio.create_task(one.buy())
        await settled()
        assert not buying.done()
        clock.advance(MOST_SECONDS)
        assert await buying == "task-1"


async def test_an_emptied_store_gets_back_what_replicas_remember(clock: HandClock) -> None:
    async with replicas(clock, 1) as (hub, (one,)):
        entries = [bought(key, clock) for key in KEYS]
        for entry in entries:
            await one.ledger.settle(entry)
        await empty(hub)
        one.wire.turn(is_open=False)
        one.wire.turn(is_open=True)
        await while_time_passes(clock, clock.sleep(3), step=0.02)
        assert [await hub.store.get(key) for key in KEYS] == list(map(LedgerFormat(SIGNER).pack, entries))


async def test_replicas_tell_in_chunks_and_leave_out_what_another_has_told(clock: HandClock) -> None:
    async with replicas(clock, 3) as (hub, started):
        for key in KEYS:
            await started[0].ledger.settle(bought(key, clock))
        hub.messages.clear()
        newcomer = Replica(hub, clock)
        newcomer.wire.turn(is_open=True)
        await while_time_passes(clock, clock.sleep(3), step=0.02)
        told = [message.count(b"filed_under") for message in hub.messages]
        assert max(told) <= CHUNK
        assert len(KEYS) <= sum(told) < 2 * len(KEYS), "three replicas remember all of them"
        await newcomer.ledger.aclose()


async def test_a_question_that_somebody_repeats_is_answered_once(clock: HandClock) -> None:
    async with replicas(clock, 1) as (hub, (one,)):
        await one.ledger.settle(bought(KEYS[0], clock))
        question = next(message for message in hub.messages if b"question" in message)
        hub.messages.clear()
        for _ in range(3):
            await one.wire.publish(question)
            await settled()
        assert sum(message.count(b"filed_under") for message in hub.messages) == 0


async def test_what_is_told_after_its_day_is_not_learnt(clock: HandClock) -> None:
    async with replicas(clock, 2) as (_, (one, other)):
        await one.ledger.settle(bought(KEYS[0], clock))
        clock.advance(KEPT_SECONDS + 1)
        other.wire.turn(is_open=False)
        other.wire.turn(is_open=True)
        await while_time_passes(clock, clock.sleep(2), step=0.1)
        assert await other.ledger.look(KEYS[0]) is None
