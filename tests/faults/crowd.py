"""The load: simulated callers with many tokens, who check each answer against the truth (truth.py)."""

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import httpx

from tests.faults.buyer import Buyer
from tests.faults.calls import Fate, Question, Reply, ask
from tests.faults.ids import Ids
from tests.faults.purchases import Purchase
from tests.faults.score import Score
from tests.faults.terms import Terms
from tests.faults.truth import TOKENS, mismatch_in, token_of, true_state
from tests.support.service import ERAS

CALLERS = 8
STRANGERS = 2
"""The number of callers that open a new connection for each call."""

TRIES = 6
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.03, 0.3
"""The limits of the pause between two calls of a caller, which is as long as its last call. So the crowd leaves a slow
machine time for the service."""

IDLE_SECONDS = 2.0
"""A caller's keep-alive timeout: below the service's, so that no call meets a connection that is being closed."""

Faults = dict[str, dict[str, Any]]
"""The typed error of each id that could not be read."""


class Crowd:
    """Concurrent callers that make random calls until `stop`, and the score of all of them."""

    def __init__(self, urls: Sequence[str], terms: Terms, seed: int, *, callers: int = CALLERS) -> None:
        """Call the replicas at `urls`. Calls that take longer than `terms` allows count as lost."""
        self.score = Score()
        known: set[tuple[str, str]] = set()
        self._callers = [_Caller(self.score, known, urls, terms, f"{seed}-{number}") for number in range(callers)]

    @property
    def purchases(self) -> list[Purchase]:
        """All purchases of all callers, failed ones included."""
        return [purchase for caller in self._callers for purchase in caller.buyer.purchases]

    def adopt(self, purchase: Purchase) -> None:
        """Add a purchase of a client outside the crowd, so that it is repeated and judged with the others."""
        self._callers[0].buyer.purchases.append(purchase)

    async def run(self) -> None:
        """Make calls until `stop`."""
        async with asyncio.TaskGroup() as group:
            for number, caller in enumerate(self._callers):
                group.create_task(caller.run(keeps_connections=number >= STRANGERS))

    def stop(self) -> None:
        """Tell each caller to end after its current call."""
        for caller in self._callers:
            caller.is_stopping = True

    async def repeat_purchases(self) -> None:
        """Send purchases with keys once more (see Buyer.repeat)."""
        await asyncio.gather(*(caller.repeat() for caller in self._callers))


class _Caller:
    """One caller: reads single tasks and batches, under changing tokens or two at once, and buys videos."""

    def __init__(self, score: Score, known: set[tuple[str, str]], urls: Sequence[str], terms: Terms, name: str) -> None:
        """`known` is shared by all callers: the (token, id) pairs that some answer showed as finished."""
        self._random = Random(name)
        self._score = score
        self._urls = urls
        self._terms = terms
        seed, _, number = name.rpartition("-")
        self._ids = Ids(seed, int(number), self._random)
        self._known = known
        self.buyer = Buyer(name, terms.purchase_seconds, self._random, self._send_purchase)
        self.is_stopping = False
        self._client: httpx.AsyncClient

    async def run(self, *, keeps_connections: bool) -> None:
        async with _client(keeps_connections=keeps_connections) as self._client:
            while not self.is_stopping:
                started = time.monotonic()
                await self._random_call()
                took = time.monotonic() - started
                await asyncio.sleep(min(max(took, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS))

    async def repeat(self) -> None:
        async with _client(keeps_connections=True) as self._client:
            await self.buyer.repeat()

    async def _random_call(self) -> None:
        token, kind = token_of(self._random.randrange(TOKENS)), self._random.random()
        if kind < 0.22:
            await self.buyer.buy()
        elif kind < 0.32:
            await self._ask_one(token, self._ids.hot() if self._random.random() < 0.5 else self._ids.cold())
        elif kind < 0.42 and (bought := [one for purchase in self.buyer.purchases for one in purchase.task_ids]):
            await self._ask_one(token, self._random.choice(bought))
        elif kind < 0.52:
            await self._ask_as_two(self._ids.some())
        else:
            await self._ask_many(token, self._ids.some(), wait_seconds=1 if kind > 0.98 else 0)

    async def _ask_as_two(self, wanted: list[str]) -> None:
        """Ask one replica for the same ids under two tokens at once: neither may get an answer of the other."""
        first, replica = self._random.randrange(TOKENS), self._random.randrange(2)
        tokens = [token_of(first), token_of((first + 7) % TOKENS)]
        await asyncio.gather(*(self._ask_many(token, wanted, replica=replica) for token in tokens))

    async def _ask_many(
        self, token: str, wanted: list[str], *, wait_seconds: int = 0, replica: int | None = None
    ) -> None:
        known = {task_id for task_id in wanted if (token, task_id) in self._known}
        arguments = {"task_ids": wanted, "wait_seconds": wait_seconds, "detail": "full"}
        reply = await self._ask(Question(token, "luma_get_tasks_batch", arguments, self._era()), replica)
        if reply is None:
            return
        if reply.error is not None:
            self._note_unavailable(reply, {task_id: dict(reply.error) for task_id in wanted}, known, len(wanted))
            return
        tasks, missing = {task["task_id"]: task for task in reply.result["tasks"]}, set(reply.result["missing"])
        faults: Faults = {one["task_id"]: one for one in reply.result["unavailable"]}
        for task_id, task in tasks.items():
            self._check(token, task_id, task)
        for task_id in missing:
            self._check_missing(token, task_id)
        told = [*tasks, *missing, *faults]
        if sorted(told) != sorted(wanted):
            self._score.find_wrong(f"asked about {len(wanted)} ids, told about {len(set(told) & set(wanted))}")
        self._note_unavailable(reply, faults, known, len(wanted))

    async def _ask_one(self, token: str, wanted: str) -> None:
        known = {wanted} if (token, wanted) in self._known else set()
        reply = await self._ask(Question(token, "luma_get_task", {"task_id": wanted}, self._era()))
        if reply is None:
            return
        if reply.error is None:
            self._check(token, wanted, dict(reply.result))
        elif reply.error["code"] == "not_found":
            self._check_missing(token, wanted)
        else:
            self._note_unavailable(reply, {wanted: dict(reply.error)}, known, 1)

    def _check(self, token: str, wanted: str, task: dict[str, Any]) -> None:
        if (mismatch := mismatch_in(token, wanted, task)) is not None:
            self._score.find_wrong(mismatch)
        elif task["state"] in ("completed", "failed"):
            self._known.add((token, wanted))

    def _check_missing(self, token: str, task_id: str) -> None:
        if true_state(token, task_id) is not None:
            self._score.find_wrong(f"{task_id} was said not to be there")

    def _note_unavailable(self, reply: Reply, faults: Faults, known: set[str], of: int) -> None:
        if faults:
            self._score.put_off_ids(reply, faults, was_known=not known.isdisjoint(faults), of=of)

    async def _ask(self, question: Question, replica: int | None = None) -> Reply | None:
        """Send a read, and retry through the other replica when a connection fails, as a load balancer does.

        Returns None if there was no usable answer; the score has the reason then.
        """
        self._score.calls += 1
        waits = float(question.arguments.get("wait_seconds", 0))
        first = self._random.randrange(2) if replica is None else replica
        for attempt in range(TRIES):
            url = self._urls[(first + attempt) % 2]
            reply = await ask(self._client, url, question, self._terms.read_seconds + waits)
            if reply.fate in (Fate.UNREACHED, Fate.CUT):
                self._note_failed_connection(reply)
                await asyncio.sleep(0.1 * attempt)
                continue
            return self._checked(reply, question.tool, is_timed=not waits)
        if self._terms.none_listens:
            self._score.cut.append(reply)
        else:
            self._score.lose(f"{question.tool} found no replica: {reply.words}")
        return None

    async def _send_purchase(self, replica: int, purchase: Purchase, seconds: float) -> Reply:
        self._score.calls += 1
        question = Question(purchase.token, "luma_generate_video", purchase.arguments, self._era())
        reply = await ask(self._client, self._urls[replica], question, seconds)
        if reply.fate in (Fate.UNREACHED, Fate.CUT):
            self._note_failed_connection(reply)
        else:
            self._checked(reply, question.tool, is_timed=True)
        return reply

    def _checked(self, reply: Reply, tool: str, *, is_timed: bool) -> Reply | None:
        """Return a reply with a result or a typed error; count any other as lost and return None."""
        if reply.fate is not Fate.ANSWERED:
            self._score.lose(f"{tool} was {reply.words}")
            return None
        if is_timed:
            self._score.answered(reply)
        return reply

    def _note_failed_connection(self, reply: Reply) -> None:
        if reply.fate is Fate.CUT:
            self._score.cut.append(reply)
        else:
            self._score.unreached += 1

    def _era(self) -> str:
        return self._random.choice(ERAS)


def _client(*, keeps_connections: bool) -> httpx.AsyncClient:
    kept = 20 if keeps_connections else 0
    return httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=kept, keepalive_expiry=IDLE_SECONDS))
