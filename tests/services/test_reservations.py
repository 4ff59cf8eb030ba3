"""Who may send under a key when calls stand still and clocks differ, over the agreement that replicas share."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from app.adapters.memory_coordination import MemoryCoordination
from app.domain.errors import BackendError, BackendTimeout, InternalError, OutcomeUnknown, RateLimited
from app.domain.reservation import HOLD_SECONDS, SENDING_SECONDS, Reservation, ReservationState
from app.ports import Coordination, StoreUnavailable
from app.services.ledger import Ledger
from app.services.ledger_format import LedgerFormat
from app.services.reservation_keys import Claim
from app.services.reservations import MOST_CALLS, Bought, Reservations
from tests.support.clock import HandClock, while_time_passes
from tests.support.keeping import RESERVATIONS, SIGNER

CLAIM = Claim("tenant", "key", "print")
AHEAD = pytest.mark.parametrize("ahead_seconds", [0.0, 30.0, -30.0])
"""How far the clock of the first replica is ahead of the second one's."""


class Interrupted(MemoryCoordination):
    """An agreement whose next replacement stands still, and then fails without having been made."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        if not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()
            raise StoreUnavailable("gone")
        return await super().replace(key, expected, value, ttl_seconds)


def replica(shared: Coordination, clock: HandClock, ahead_seconds: float) -> Reservations:
    return with_wall_clock(shared, clock, lambda: clock() + ahead_seconds)


def with_wall_clock(shared: Coordination, clock: HandClock, wall_clock: Callable[[], float]) -> Reservations:
    return Reservations(Ledger(shared, SIGNER, wall_clock, clock.sleep), RESERVATIONS, wall_clock, clock, clock.sleep)


async def buy(reservations: Reservations, send: Callable[[], Awaitable[str]], claim: Claim = CLAIM) -> Bought:
    async def became(_ticket: str) -> str | None:
        return None

    return await reservations.buy(claim, None, send, became)


class Backend:
    """Counts what it is sent."""

    def __init__(self) -> None:
        self.sent = 0

    async def takes(self) -> str:
        self.sent += 1
        return f"task-{self.sent}"

    async def refuses(self) -> str:
        raise BackendError


@AHEAD
async def test_a_call_that_stands_still_does_not_free_the_key_of_the_one_that_took_its_place(
    clock: HandClock, ahead_seconds: float
) -> None:
    shared, backend = Interrupted(clock), Backend()
    slow, quick = replica(shared, clock, ahead_seconds), replica(shared, clock, 0.0)
    standing = asyncio.create_task(buy(slow, backend.takes))
    await shared.reached.wait()
    clock.advance(max(ahead_seconds, 0.0) + HOLD_SECONDS + 1)
    first = await buy(quick, backend.takes)
    clock.advance(1)
    shared.go_on.set()
    with pytest.raises(InternalError):
        await standing
    again = [await buy(one, backend.takes) for one in (slow, quick)]
    assert [(one.task_id, one.replayed) for one in again] == [(first.task_id, True)] * 2
    assert backend.sent == 1


@AHEAD
async def test_a_key_that_was_freed_buys_once_however_the_clocks_differ(clock: HandClock, ahead_seconds: float) -> None:
    shared, backend = MemoryCoordination(clock), Backend()
    one, other = replica(shared, clock, ahead_seconds), replica(shared, clock, 0.0)
    with pytest.raises(BackendError):
        await buy(one, backend.refuses)
    first = await buy(other, backend.takes)
    again = [await buy(each, backend.takes) for each in (one, other)]
    assert [(each.task_id, each.replayed) for each in again] == [(first.task_id, True)] * 2
    assert backend.sent == 1


@pytest.mark.parametrize("state", [ReservationState.FREED, ReservationState.HELD])
async def test_a_word_in_the_store_that_nothing_was_sent_frees_no_key_that_a_replica_remembers(
    clock: HandClock, state: ReservationState
) -> None:
    shared, backend = MemoryCoordination(clock), Backend()
    one = replica(shared, clock, 0.0)
    first = await buy(one, backend.takes)
    key = RESERVATIONS.key(CLAIM)
    forged = Reservation(key, RESERVATIONS.fingerprint(CLAIM), "another", state, clock() + 9e9)
    kept = await shared.get(key)
    assert kept is not None
    await shared.replace(key, kept, LedgerFormat(SIGNER).pack(forged), 60)
    again = await buy(one, backend.takes)
    assert (again.task_id, again.replayed, backend.sent) == (first.task_id, True, 1)


@pytest.mark.parametrize("step_seconds", [3600.0, -3600.0])
async def test_a_wall_clock_that_is_set_takes_nobody_for_dead_and_nobody_for_alive(
    clock: HandClock, step_seconds: float
) -> None:
    shared, backend, step = MemoryCoordination(clock), Backend(), 0.0
    one, other = (with_wall_clock(shared, clock, lambda: clock() + step) for _ in range(2))
    sending, answered = asyncio.Event(), asyncio.Event()

    async def slowly() -> str:
        sending.set()
        await answered.wait()
        return await backend.takes()

    first = asyncio.create_task(buy(one, slowly))
    await sending.wait()
    step = step_seconds
    second = asyncio.create_task(buy(other, backend.takes))
    while not (clock.sleepers or second.done()):  # it looks, and waits to look again
        await asyncio.sleep(0)
    answered.set()
    assert not (await first).replayed
    assert (await while_time_passes(clock, second, step=0.25)).replayed
    assert backend.sent == 1


async def test_a_sender_that_died_is_given_up_by_the_time_that_passed_not_by_the_wall_clock(clock: HandClock) -> None:
    shared, backend, step = MemoryCoordination(clock), Backend(), 3600.0
    dead = with_wall_clock(shared, clock, lambda: clock() + step)
    sending = asyncio.Event()

    async def dies() -> str:
        sending.set()
        await asyncio.Event().wait()
        raise AssertionError

    dying = asyncio.create_task(buy(dead, dies))
    await sending.wait()
    step = 0.0
    dying.cancel()
    clock.advance(SENDING_SECONDS + 1)
    with pytest.raises(OutcomeUnknown):
        await while_time_passes(clock, buy(replica(shared, clock, 0.0), backend.takes))
    assert backend.sent == 0


class Counting(MemoryCoordination):
    """An agreement that counts how often somebody looks whether a key is free."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.looks = 0

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        self.looks += 1
        return await super().put_if_absent(key, value, ttl_seconds)


class Slow(Backend):
    """Takes a submission when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sending, self.answers = asyncio.Event(), asyncio.Event()

    async def takes(self) -> str:
        self.sending.set()
        await self.answers.wait()
        return await super().takes()


async def passing(clock: HandClock, seconds: float) -> None:
    """Let so much time pass, in small steps, with everything that is awake running in between."""
    await while_time_passes(clock, clock.sleep(seconds), step=0.25)


async def test_callers_of_one_key_share_one_poller_that_looks_less_and_less_often(clock: HandClock) -> None:
    shared, backend = Counting(clock), Slow()
    one, other = replica(shared, clock, 0.0), replica(shared, clock, 0.0)
    first = asyncio.create_task(buy(one, backend.takes))
    await backend.sending.wait()
    waiting = [asyncio.create_task(buy(other, backend.takes)) for _ in range(50)]
    shared.looks = 0
    await passing(clock, 20)
    assert 5 < shared.looks < 20, "and not 50 callers 4 times a second"
    backend.answers.set()
    bought = await while_time_passes(clock, asyncio.gather(first, *waiting), step=0.25)
    assert {one.task_id for one in bought} == {"task-1"}


async def test_a_caller_that_leaves_while_it_waits_for_another_looks_no_more(clock: HandClock) -> None:
    shared, backend = Counting(clock), Slow()
    first = asyncio.create_task(buy(replica(shared, clock, 0.0), backend.takes))
    await backend.sending.wait()
    leaving = [asyncio.create_task(buy(replica(shared, clock, 0.0), backend.takes)) for _ in range(10)]
    await passing(clock, 1)
    for one in leaving:
        one.cancel()
    await asyncio.wait(leaving)
    shared.looks = 0
    await passing(clock, 10)
    assert (shared.looks, clock.sleepers) == (0, 0)
    backend.answers.set()
    assert (await first).task_id == "task-1"


async def test_a_token_has_so_many_calls_with_keys_under_way_and_no_more(clock: HandClock) -> None:
    shared, backend = MemoryCoordination(clock), Slow()
    one = replica(shared, clock, 0.0)
    waiting = [asyncio.create_task(buy(one, backend.takes)) for _ in range(MOST_CALLS)]
    await backend.sending.wait()
    with pytest.raises(RateLimited, match="too many calls with idempotency keys"):
        await buy(one, backend.takes)
    backend.answers.set()
    await while_time_passes(clock, asyncio.gather(*waiting), step=0.25)
    assert (await buy(one, backend.takes)).replayed
    assert backend.sent == 1


class Vanishing(Backend):
    """Takes submissions and never says so; all but the first one end when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def takes(self) -> str:
        self.sent += 1
        if self.sent > 1:
            await self.go_on.wait()
        raise OutcomeUnknown


async def test_retry_unknown_is_about_the_outcome_that_was_unknown_when_the_call_came(clock: HandClock) -> None:
    """Six calls at once agree to one unknown outcome: one of them buys again, and its own outcome is another."""
    shared, backend = MemoryCoordination(clock), Vanishing()
    one, other = replica(shared, clock, 0.0), replica(shared, clock, 0.0)
    with pytest.raises(OutcomeUnknown):
        await buy(one, backend.takes)
    again = replace(CLAIM, retry_unknown=True)
    calls = [asyncio.create_task(buy((one, other)[n % 2], backend.takes, again)) for n in range(6)]
    await passing(clock, 2)
    backend.go_on.set()
    ends = await while_time_passes(clock, asyncio.gather(*calls, return_exceptions=True), step=0.25)
    assert {type(end) for end in ends} == {OutcomeUnknown}
    assert backend.sent == 2
    with pytest.raises(OutcomeUnknown):
        await buy(other, backend.takes, again)
    assert backend.sent == 3, "a call that comes later agrees to the second outcome"


@pytest.mark.parametrize("kind", [RuntimeError, OSError, KeyError, InternalError, BackendTimeout])
async def test_whatever_breaks_a_submission_leaves_its_outcome_unknown_at_once(
    clock: HandClock, kind: type[Exception]
) -> None:
    backend = Backend()

    async def breaks() -> str:
        backend.sent += 1
        raise kind

    one = replica(MemoryCoordination(clock), clock, 0.0)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await buy(one, breaks)
    assert backend.sent == 1
    agreed = await buy(one, backend.takes, replace(CLAIM, retry_unknown=True))
    assert agreed == Bought("task-2", replayed=False)


class NoOutcomes(MemoryCoordination):
    """An agreement with a fault of its own whenever an outcome is to be written down."""

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        if b"done" in value or b"unknown" in value:
            raise RuntimeError("odd")
        return await super().put_if_absent(key, value, ttl_seconds)


async def test_a_purchase_whose_outcome_cannot_be_written_down_has_its_outcome(clock: HandClock) -> None:
    backend, one = Backend(), replica(NoOutcomes(clock), clock, 0.0)
    assert await buy(one, backend.takes) == Bought("task-1", replayed=False)
    with pytest.raises(OutcomeUnknown):
        await buy(one, unknown_to_all, Claim("tenant", "another", "print"))


async def unknown_to_all() -> str:
    raise OutcomeUnknown


class TakingNothing(MemoryCoordination):
    """An agreement that takes nothing new while it is out."""

    is_out = False

    async def put_if_absent(self, key: str, value: bytes, ttl_seconds: float) -> bytes | None:
        if self.is_out:
            raise StoreUnavailable("gone")
        return await super().put_if_absent(key, value, ttl_seconds)


async def test_outcomes_that_cannot_be_written_down_are_one_line_in_the_log(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    shared = TakingNothing(clock)
    one = replica(shared, clock, 0.0)

    async def takes() -> str:
        shared.is_out = True
        return "task-1"

    for number in range(5):
        shared.is_out = False
        await buy(one, takes, replace(CLAIM, idempotency_key=f"key-{number}"))
    await one.aclose()
    assert caplog.text.count("cannot be written down now") == 1
