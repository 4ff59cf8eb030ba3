"""One video per idempotency key: who may send, who waits, and who gets the first answer again."""

import asyncio
import hashlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import BackendTimeout, InternalError, InvalidRequest, LumaError, OutcomeUnknown, RateLimited
from app.domain.foreign_text import is_plain_id
from app.domain.reservation import KEPT_SECONDS, Reservation, ReservationState, Verdict, verdict
from app.ports import StoreBusy, StoreRefuses, StoreUnavailable
from app.services.burst import FaultLog
from app.services.ledger import Ledger
from app.services.pauses import happens_within
from app.services.reservation_keys import Claim, ReservationKeys, key_of_earlier_release
from app.services.unaccepted_keys import WINDOW_SECONDS, UnacceptedKeys

LOOK_AGAIN_SECONDS = 0.25
BACK_OFF = 1.5
LONGEST_PAUSE_SECONDS = 2.0
"""How soon a call looks again at the purchase of another process, and by how much later each time."""

MOST_CALLS = 64
"""Calls with a key per token and process, those that wait for others among them."""

LONGEST_WAIT_SECONDS = 45.0
"""How long a call waits for another one with the same key; clients give up at about a minute."""

REFUSED_WITHOUT_STORE = (
    "Idempotency keys cannot be checked right now, because this service's store does not answer. Nothing was sent: try "
    "again shortly with the same key."
)
REFUSED_BY_STORE = (
    "Idempotency keys cannot be checked right now, because this service's store answers but does not take what it is "
    "told, as while it fails over or is full. Nothing was sent: try again shortly with the same key."
)
OTHER_ARGUMENTS = (
    "This `idempotency_key` was used in the last 24 hours for another tool or other arguments. Use a new key for a new "
    "video, or repeat the first call exactly."
)
UNKNOWN_BEFORE = (
    "An earlier call with this `idempotency_key` was sent, but its answer never came, so a video may have been started "
    "and charged. This key will not buy again unless the call carries `retry_unknown: true`; ask the user first."
)
STILL_UNDER_WAY = "Another call with this `idempotency_key` is still under way. Try again shortly with the same key."
TOO_MANY_CALLS = (
    "This service has too many calls with idempotency keys under way for this token. Nothing was sent: try again "
    "shortly with the same key."
)
TOO_MANY_AT_ONCE = (
    "This service has too many calls with idempotency keys at once to check them all. Nothing was sent: try again "
    "shortly with the same key."
)
TOO_MANY_UNKNOWN = (
    "AceDataCloud has not accepted this token lately, and too many calls of such tokens ended with an unknown outcome. "
    "Nothing was sent: ask about any task, which shows that AceDataCloud accepts the token, then try again."
)

_UNKNOWN = Verdict.OUTCOME_UNKNOWN

_MAY_HAVE_BOUGHT = (OutcomeUnknown, BackendTimeout, InternalError)
"""Errors of sending after which a task may run. Any other LumaError says that nothing was started; no other exception
does."""

log = logging.getLogger(__name__)

Became = Callable[[str], Awaitable[str | None]]
"""Tells which task a submission with a ticket became, or None where nobody can tell. Raises LumaError."""


@dataclass(frozen=True, slots=True)
class Bought:
    """The task that a claim stands for, and whether an earlier call bought it."""

    task_id: str
    replayed: bool


def fingerprint(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return what tells one submission from another."""
    canonical = json.dumps([tool, dict(arguments)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


Outlive = Callable[[Coroutine[Any, Any, "Bought | None"]], Awaitable["Bought | None"]]
"""Runs a purchase to its end, also when the caller that waits for it leaves."""


async def _with_the_caller(purchase: Coroutine[Any, Any, Bought | None]) -> Bought | None:
    return await purchase


@dataclass(slots=True)
class _Purchase:
    """One call with a key; `key` is where its reservation is kept.

    `agreed_to` is the holder of the unknown outcome that was there when the call came: `retry_unknown` is about that
    one, and not about what becomes of others that are under way.
    """

    claim: Claim
    key: str
    ticket: str | None
    send: Callable[[], Awaitable[str]]
    became: Became
    agreed_to: str | None = None


class Reservations:
    """Lets exactly one call per key send."""

    def __init__(  # noqa: PLR0913 - its ledger, its keys, its clocks and its bound
        self,
        ledger: Ledger,
        keys: ReservationKeys,
        wall_clock: Callable[[], float],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        unaccepted: UnacceptedKeys | None = None,
    ) -> None:
        """Agree through `ledger`; `wall_clock` gives unix seconds, `clock` counts seconds and never goes back.

        `unaccepted` bounds the keys of tokens that the backend has not accepted; without it, none are bounded.
        """
        self._unaccepted = unaccepted or UnacceptedKeys(clock, lambda _tenant: True)
        self._ledger = ledger
        self._keys = keys
        self._turns: dict[str, asyncio.Event] = {}
        self._calls: Counter[str] = Counter()
        self._earlier_until = clock() + KEPT_SECONDS
        self._wall_clock = wall_clock
        self._faults = FaultLog(
            log,
            "A purchase with an idempotency key met a fault of this service after it may have been sent. Its key will "
            "not buy again unless the caller agrees.",
            clock,
        )
        self._clock = clock
        self._sleep = sleep

    async def buy(
        self,
        claim: Claim,
        ticket: str | None,
        send: Callable[[], Awaitable[str]],
        became: Became,
        outlive: Outlive = _with_the_caller,
    ) -> Bought:
        """Return the task of `claim`: sent now, or bought by an earlier call with the same key.

        `send` is called at most once; `ticket` stands for what it asks the backend to call back with, and `became`
        tells what an earlier submission with a ticket became. Raises what they raise, and LumaError where nothing may
        be sent.
        """
        if self._calls[claim.tenant] >= MOST_CALLS:
            raise RateLimited(TOO_MANY_CALLS)
        if not self._unaccepted.admit(claim.tenant):
            raise RateLimited(TOO_MANY_UNKNOWN, retry_after_seconds=WINDOW_SECONDS)
        self._calls[claim.tenant] += 1
        try:
            purchase = _Purchase(claim, self._keys.key(claim), ticket, send, became)
            if claim.retry_unknown:
                purchase.agreed_to = await self._unknown_now(purchase)
            return await self._in_turn(purchase, outlive)
        except StoreUnavailable as fault:
            raise _refusal(fault) from fault
        finally:
            self._calls[claim.tenant] -= 1
            if not self._calls[claim.tenant]:
                del self._calls[claim.tenant]

    async def _unknown_now(self, purchase: "_Purchase") -> str | None:
        """Return who left the outcome of the key unknown, as it stands now; None where it is not unknown."""
        found = await self._ledger.look(purchase.key)
        if found is None:
            return None
        age_seconds = await self._ledger.age_seconds(found) if found.is_under_way else 0.0
        wanted = self._keys.fingerprint(purchase.claim)
        return found.holder if verdict(found, wanted, age_seconds, retry_unknown=False) is _UNKNOWN else None

    async def aclose(self) -> None:
        """Stop what still tries to write down outcomes."""
        await self._ledger.aclose()

    async def _in_turn(self, purchase: "_Purchase", outlive: Outlive) -> Bought:
        """Look and, if need be, look again until the key is decided: for each key one caller of this process at a time.

        Only what may have claimed the key outlives its caller; one who leaves while it waits for others just ends.
        """
        give_up_at, pause, key = self._clock() + LONGEST_WAIT_SECONDS, LOOK_AGAIN_SECONDS, purchase.key
        while (turn := self._turns.get(key)) is not None:
            if (left := give_up_at - self._clock()) <= 0:
                raise RateLimited(STILL_UNDER_WAY)
            await happens_within(turn, left, self._sleep)
        over = self._turns[key] = asyncio.Event()
        try:
            while True:
                if (bought := await outlive(self._attempt(purchase))) is not None:
                    return bought
                if self._clock() >= give_up_at:
                    raise RateLimited(STILL_UNDER_WAY)
                await self._sleep(pause)
                pause = min(pause * BACK_OFF, LONGEST_PAUSE_SECONDS)
        finally:
            del self._turns[key]
            over.set()

    async def _attempt(self, purchase: "_Purchase") -> Bought | None:
        """Buy if the key is free, or return what was bought under it; None while that is undecided."""
        mine = await self._reserve(purchase)
        if not isinstance(mine, Reservation):
            return mine
        try:
            earlier = await self._bought_by_earlier_release(purchase.claim)
        except (LumaError, StoreUnavailable):
            await self._give_up(purchase, mine)
            raise
        if earlier is not None:
            await self._give_up(purchase, mine)
            return earlier
        return await self._send(purchase, mine, await self._sent(purchase, mine))

    async def _give_up(self, purchase: "_Purchase", mine: Reservation) -> None:
        """Free the key, or leave it as unknown as it was; a token that is not accepted leaves no key behind."""
        leaves_key = not self._unaccepted.leaves_none(purchase.claim.tenant)
        await self._ledger.settle(mine.given_up(), leaves_key=leaves_key)

    async def _reserve(self, purchase: "_Purchase") -> Reservation | Bought | None:
        """Return a reservation of this call's own, or what an earlier call bought; None while another is under way."""
        claim, wanted = purchase.claim, self._keys.fingerprint(purchase.claim)
        now, holder = self._wall_clock(), secrets.token_hex(8)
        mine = Reservation(purchase.key, wanted, holder, ReservationState.HELD, now)
        found = await self._ledger.reserve(mine)
        if found is None:
            return mine
        age_seconds = await self._ledger.age_seconds(found.word) if found.word.is_under_way else 0.0
        if (task_id := await self._found_out(wanted, found.word, age_seconds, purchase.became)) is not None:
            return Bought(task_id, replayed=True)
        may_retry = claim.retry_unknown and purchase.agreed_to == found.word.holder
        match verdict(found.word, wanted, age_seconds, retry_unknown=may_retry):
            case Verdict.REPLAY:
                return _replayed(found.word)
            case Verdict.TAKE_OVER:
                mine = mine.in_place_of(found.word, self._wall_clock())
                return mine if await self._ledger.take(found, mine) else None
            case Verdict.OTHER_ARGUMENTS:
                raise InvalidRequest(OTHER_ARGUMENTS)
            case Verdict.OUTCOME_UNKNOWN:
                raise OutcomeUnknown(UNKNOWN_BEFORE)
        return None

    async def _bought_by_earlier_release(self, claim: Claim) -> Bought | None:
        """Return what a release that kept reservations elsewhere bought; nothing of it is left after a day of serving.

        Raises LumaError where the key must not buy, and StoreUnavailable.
        """
        if self._clock() >= self._earlier_until:
            return None
        found = await self._ledger.kept_by_earlier_release(key_of_earlier_release(claim))
        if found is None:
            return None
        age_seconds = await self._ledger.age_seconds(found)
        match verdict(found, claim.fingerprint, age_seconds, retry_unknown=claim.retry_unknown):
            case Verdict.REPLAY:
                return _replayed(found)
            case Verdict.TAKE_OVER:
                return None
            case Verdict.OTHER_ARGUMENTS:
                raise InvalidRequest(OTHER_ARGUMENTS)
            case Verdict.WAIT:
                raise RateLimited(STILL_UNDER_WAY)
            case _:
                raise OutcomeUnknown(UNKNOWN_BEFORE)

    async def _found_out(self, wanted: str, found: Reservation, age_seconds: float, became: Became) -> str | None:
        """Return what a submission of unknown outcome turned out to be, and complete its reservation with it."""
        if found.ticket is None or verdict(found, wanted, age_seconds, retry_unknown=False) is not _UNKNOWN:
            return None
        task_id = await became(found.ticket)
        if task_id is not None:
            await self._ledger.settle(found.done(task_id, self._wall_clock()))
        return task_id

    async def _sent(self, purchase: "_Purchase", mine: Reservation) -> Reservation:
        """Return the reservation as sent, written down. Raises LumaError where nothing may be sent."""
        sent = mine.sent(self._wall_clock(), purchase.ticket)
        try:
            if await self._ledger.advance(mine, sent):
                return sent
        except StoreUnavailable as fault:
            await self._give_up(purchase, mine)  # the store may have taken it all the same
            raise _refusal(fault) from fault
        raise RateLimited(STILL_UNDER_WAY)

    async def _send(self, purchase: "_Purchase", mine: Reservation, sent: Reservation) -> Bought:
        """Send, and write down how it ended; until then the key stays "sent", and so is refused rather than risked."""
        try:
            task_id = await purchase.send()
        except LumaError as exc:
            if not isinstance(exc, _MAY_HAVE_BOUGHT):
                await self._give_up(purchase, mine)
                raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, the submission may have been sent
            self._faults.note(exc)
        else:
            await self._settle(sent.done(task_id, self._wall_clock()))
            return Bought(task_id, replayed=False)
        self._unaccepted.stays(purchase.claim.tenant)
        await self._settle(sent.unknown(self._wall_clock()))
        raise OutcomeUnknown(f"{OutcomeUnknown.sentence} {UNKNOWN_BEFORE}")

    async def _settle(self, word: Reservation) -> None:
        """Write down how sending ended. A fault of the ledger changes nothing about it."""
        try:
            await self._ledger.settle(word)
        except Exception as exc:  # noqa: BLE001 - the submission is over, and its caller must learn how it ended
            self._faults.note(exc)


def _replayed(found: Reservation) -> Bought:
    """Return what was bought. Raises OutcomeUnknown where the store holds an id that no task can have."""
    if found.task_id is None or not is_plain_id(found.task_id):
        raise OutcomeUnknown(UNKNOWN_BEFORE)
    return Bought(found.task_id, replayed=True)


def _refusal(fault: StoreUnavailable) -> LumaError:
    if isinstance(fault, StoreBusy):
        return RateLimited(TOO_MANY_AT_ONCE, retry_after_seconds=1.0)
    sentence = REFUSED_BY_STORE if isinstance(fault, StoreRefuses) else REFUSED_WITHOUT_STORE
    return InternalError(sentence, retry_after_seconds=5.0)
