"""Brings a replica back to what the others remember of keys, after its connection to their channel was broken.

The channel keeps nothing, so a replica misses what is said while it does not listen. Each time that it begins to
listen it publishes a question. Every replica that hears the question, itself among them, tells all that it remembers
in chunks, and then that it is done; what one of them has told since the question, the others leave out. They also
write what they have told back to the store. Until all that heard the question are done, the replica that asked trusts
no store that shows a key as free.

A connection may lead nowhere before anybody notices. So a replica also publishes an echo before it trusts the store:
messages come in order, and once it hears its echo it has heard all that was said before.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from app.domain.reservation import Reservation, ReservationState
from app.ports import Coordination, StoreUnavailable
from app.services.bounded import Bounded
from app.services.pauses import happens_within

CHUNK = 100
"""Entries in one message: about 40 KB, which take a replica half a millisecond to read."""

PAUSE_SECONDS = 0.02
"""Time between two chunks: 10,000 entries take 2 seconds, or less where several replicas tell them."""

SETTLE_SECONDS = 1.0
"""How long after a break a replica waits before it asks: those that lost the channel with it listen again by then."""

MOST_SECONDS = 2.5
"""How long the answers may take. One that hears the question but is hung, or older, must not stop purchases."""

CHANNEL_SECONDS = 3.0
"""How long a call waits for a replica that did not hear the others to be up to date again."""

ECHO_SECONDS = 1.5
"""How long an echo may take before the channel counts as broken."""

AGAIN_SECONDS = 0.5
MOST_TRIES = 10
"""How soon a message is sent again that the store did not take, and how often."""

MOST_QUESTIONS = 1_000
"""Questions that are remembered as answered: who writes to the channel can repeat one, and it counts once."""

MOST_UNWRITTEN = 10_000
"""Entries that wait to be written to the store; with more, those who hear them remember them all the same."""

_PREFIX = b"sync:"


@dataclass(frozen=True, slots=True)
class _Message:
    """An echo or a question, each with a number of its own; entries; or the questions that are answered."""

    echo: str | None = None
    question: str | None = None
    entries: list[Reservation] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


_MESSAGE = TypeAdapter(_Message)


class LedgerSync:
    """The questions and answers of one replica. It begins up to date, where it is told of no channel."""

    def __init__(
        self,
        coordination: Coordination,
        sleep: Callable[[float], Awaitable[None]],
        remembered: Callable[[], Mapping[str, Reservation]],
        learn: Callable[[Reservation], None],
        write: Callable[[Reservation], Awaitable[None]],
    ) -> None:
        """Answer with what `remembered` returns by key; `learn` is given what others tell.

        `write` puts an entry into the store where it is missing. It raises StoreUnavailable.
        """
        self._coordination = coordination
        self._sleep = sleep
        self._remembered = remembered
        self._learn = learn
        self._write = write
        self._up_to_date = asyncio.Event()
        self._up_to_date.set()
        self._was_open = self._is_closed = False
        self._asking: asyncio.Task[None] | None = None
        self._number, self._answers, self._listeners = "", 0, 0
        self._all_done = asyncio.Event()
        self._echoes: dict[str, asyncio.Event] = {}
        self._seen: Bounded[str, None] = Bounded(MOST_QUESTIONS)
        self._questions: list[str] = []
        self._untold: dict[str, Reservation] = {}
        self._unwritten: dict[str, Reservation] = {}
        self._telling: asyncio.Task[None] | None = None
        coordination.follow_channel(self._channel_changed)

    @property
    def is_up_to_date(self) -> bool:
        """Whether this replica has heard what the others said, as far as it has noticed."""
        return self._up_to_date.is_set()

    async def has_heard_all(self) -> bool:
        """Return whether this replica has heard what was said before, after waiting for that a little.

        Raises StoreUnavailable.
        """
        now = asyncio.get_running_loop().time
        ends_at = now() + CHANNEL_SECONDS
        while not (self.is_up_to_date and await self._hears_its_echo()):  # it may break while the echo is on its way
            if (left := ends_at - now()) <= 0:
                return False
            await happens_within(self._up_to_date, left, self._sleep)
            if not self.is_up_to_date:
                return False
        return True

    async def _hears_its_echo(self) -> bool:
        number, heard = secrets.token_hex(8), asyncio.Event()
        self._echoes[number] = heard
        try:
            await self._coordination.publish(_packed(_Message(echo=number)))
            await happens_within(heard, ECHO_SECONDS, self._sleep)
        finally:
            del self._echoes[number]
        return heard.is_set() and self.is_up_to_date

    def hear(self, message: bytes) -> bool:
        """Take in a message of the channel, and return whether it belongs here."""
        if not message.startswith(_PREFIX):
            return False
        try:
            said = _MESSAGE.validate_json(message[len(_PREFIX) :])
        except ValidationError:
            return True
        if said.echo in self._echoes:
            self._echoes[said.echo].set()
        for entry in said.entries:
            self._learn(entry)
            if self._untold.get(entry.filed_under) == entry:
                del self._untold[entry.filed_under]
        if said.question is not None and said.question not in self._seen and not self._is_closed:
            self._answer(said.question)
        if self._number in said.done:
            self._count_answers(1)
        return True

    async def aclose(self) -> None:
        """Ask and tell no more."""
        self._is_closed = True
        tasks = [task for task in (self._asking, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _channel_changed(self, is_open: bool) -> None:
        self._up_to_date.clear()
        for lost in self._echoes.values():
            lost.set()
        if self._asking is not None:
            self._asking.cancel()
        if is_open and not self._is_closed:
            self._asking = asyncio.get_running_loop().create_task(self._ask(settles=self._was_open))
            self._was_open = True

    async def _ask(self, *, settles: bool) -> None:
        if settles:
            await self._sleep(SETTLE_SECONDS)
        self._number, self._answers, self._listeners = secrets.token_hex(8), 0, 0
        self._all_done.clear()
        while (listeners := await self._publish(_Message(question=self._number))) is None:
            await self._sleep(AGAIN_SECONDS)
        self._listeners = max(1, listeners)  # itself at least: then the channel works both ways
        self._count_answers(0)
        await happens_within(self._all_done, MOST_SECONDS, self._sleep)
        self._up_to_date.set()

    def _count_answers(self, more: int) -> None:
        self._answers += more
        if 0 < self._listeners <= self._answers:
            self._all_done.set()

    def _answer(self, question: str) -> None:
        self._seen[question] = None
        self._questions.append(question)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell_and_write())

    async def _tell_and_write(self) -> None:
        while self._questions or self._unwritten:
            if self._questions:
                await self._tell_all()
            else:
                await self._write_some()

    async def _tell_all(self) -> None:
        """Answer the questions that came so far; where the store takes nothing, they stay without an answer."""
        questions, self._questions = self._questions, []
        self._untold = _from_anywhere(self._remembered())
        while self._untold:
            count = min(CHUNK, len(self._untold))
            chunk = dict(self._untold.popitem() for _ in range(count))
            if not await self._say(_Message(entries=list(chunk.values()))):
                self._untold.clear()
                return
            if len(self._unwritten) < MOST_UNWRITTEN:
                self._unwritten |= chunk
            if self._untold:
                await self._sleep(PAUSE_SECONDS)
        await self._say(_Message(done=questions))

    async def _write_some(self) -> None:
        """Write a chunk of what was told, one by one; a store that takes nothing is left as it is."""
        for _ in range(min(CHUNK, len(self._unwritten))):
            _, entry = self._unwritten.popitem()
            try:
                await self._write(entry)
            except StoreUnavailable:
                self._unwritten.clear()
                return
        if self._unwritten:
            await self._sleep(PAUSE_SECONDS)

    async def _say(self, message: _Message) -> bool:
        for _ in range(MOST_TRIES):
            if await self._publish(message) is not None:
                return True
            await self._sleep(AGAIN_SECONDS)
        return False

    async def _publish(self, message: _Message) -> int | None:
        """Return how many heard it, or None where the store does not take it."""
        try:
            return await self._coordination.publish(_packed(message))
        except StoreUnavailable:
            return None


def _packed(message: _Message) -> bytes:
    return _PREFIX + _MESSAGE.dump_json(message, exclude_defaults=True)


def _from_anywhere(remembered: Mapping[str, Reservation]) -> dict[str, Reservation]:
    """Return the entries that say more than nothing, in an order that begins somewhere else each time.

    So several replicas that answer at once do not tell the same ones first.
    """
    keys = [key for key, entry in remembered.items() if entry.state is not ReservationState.FREED]
    cut = random.randrange(len(keys)) if keys else 0  # noqa: S311 - spreads work, guards nothing
    return {key: remembered[key] for key in (*keys[cut:], *keys[:cut])}
