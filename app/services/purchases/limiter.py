"""Limits the concurrent submissions of each credential to what the backend accepts."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from app.domain.access import Credential, Principal
from app.domain.backend import BackendDescription
from app.domain.errors import RateLimited
from app.services.limits.fair_limiter import FairLimiter, Shares

LONGEST_WAIT_SECONDS = 20.0
"""Longest wait for a free place. The caller is then told to try again."""

MOST_WAITING = 50
"""Waiting submissions of one owner. Five places serve at most about as many in LONGEST_WAIT_SECONDS."""

TOO_MANY_WAIT = (
    f"{MOST_WAITING} submissions wait for one of this token's {{generations_at_once}} places at {{backend}} already. "
    "Nothing was sent: wait for the calls under way, then try again."
)

LOOK_AGAIN_SECONDS = 2.0
"""Pause before a retry at a full backend. It refused, so nothing was started and nothing is bought twice."""

Send = Callable[[Credential], Awaitable[str]]
"""Submits once under a credential and returns the task id."""


class ConcurrencyLimiter:
    """Runs as many submissions per credential at once as the backend accepts, each under the one with the most room.

    Others wait for a limited time. The callers of one owner, such as the members of a team, take turns.
    """

    def __init__(
        self, backend: BackendDescription, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """Limit by the policy of `backend`.

        `clock` returns seconds and never goes back; `sleep` uses the same time.
        """
        self._backend = backend
        self._clock = clock
        self._sleep = sleep
        self._lines: dict[str, _Line] = {}
        self._running: Counter[str] = Counter()

    async def run(self, caller: Principal, credentials: Sequence[Credential], send: Send) -> str:
        """Call `send` with one of `credentials` once it has a free place, and return its result.

        `send` is called again only if the backend refused because it was full. Raises RateLimited after too long a
        wait, and whatever else `send` raises.
        """
        give_up_at = self._clock() + LONGEST_WAIT_SECONDS
        line = self._line_of(caller.owner, credentials)
        if line.users >= line.places + MOST_WAITING:
            raise RateLimited(self._backend.say(TOO_MANY_WAIT))
        line.users += 1
        try:
            accepted = await self._enter(line, caller.subject)
            try:
                return await self._send(credentials, send, give_up_at)
            finally:
                line.limiter.give_back(caller.subject, accepted=accepted)
        finally:
            line.users -= 1
            if line.users == 0 and self._lines.get(caller.owner) is line:
                del self._lines[caller.owner]

    def _line_of(self, owner: str, credentials: Sequence[Credential]) -> "_Line":
        """Return the owner's line; a new one where its credentials have changed."""
        ids = frozenset(credential.id for credential in credentials)
        line = self._lines.get(owner)
        if line is None or line.credential_ids != ids:
            line = self._lines[owner] = _Line(ids, len(ids) * self._backend.policy.generations_at_once)
        return line

    async def _enter(self, line: "_Line", subject: str) -> bool:
        """Wait for a place, and return what `give_back` is to be told."""
        accepted = line.limiter.take_at_once(subject)
        if accepted is not None:
            return accepted
        timer = asyncio.ensure_future(self._sleep(LONGEST_WAIT_SECONDS))
        place = asyncio.ensure_future(line.limiter.take(subject))
        try:
            await asyncio.wait([timer, place], return_when=asyncio.FIRST_COMPLETED)
            if not place.done():
                raise self._backend.error(RateLimited)
            return place.result()
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                line.limiter.give_back(subject, accepted=place.result())
            raise
        finally:
            timer.cancel()
            if not place.done():
                place.cancel()

    async def _send(self, credentials: Sequence[Credential], send: Send, give_up_at: float) -> str:
        while True:
            credential = min(credentials, key=lambda one: self._running[one.id])
            self._running[credential.id] += 1
            try:
                return await send(credential)
            except RateLimited as exc:
                pause = exc.retry_after_seconds or LOOK_AGAIN_SECONDS
                if self._clock() + pause >= give_up_at:
                    raise
            finally:
                self._running[credential.id] -= 1
                if not self._running[credential.id]:
                    del self._running[credential.id]
            await self._sleep(pause)


@dataclass(slots=True)
class _Line:
    """The callers of one owner, with as many places as its credentials have together."""

    credential_ids: frozenset[str]
    places: int
    users: int = 0
    limiter: FairLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.limiter = FairLimiter(Shares(self.places, self.places, self.places), lambda _subject: True)
