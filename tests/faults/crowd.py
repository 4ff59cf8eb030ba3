"""The load: callers with many tokens, who hold each answer against what they know to be true."""

import asyncio
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
from tests.faults.truth import TOKENS, token_of, true_state, untruth_in
from tests.support.service import ERAS

CALLERS = 8
STRANGERS = 2
"""Callers who make a connection of their own for each call."""

TRIES = 6
PAUSE_SECONDS = 0.03
IDLE_SECONDS = 2.0
"""How long a caller keeps an idle connection: less than the service does, so that they do not race for its end."""

Faults = dict[str, dict[str, Any]]
"""Typed errors by the id that could not be read."""


class Crowd:
    """Callers who ask until they are told to stop."""

    def __init__(self, urls: Sequence[str], terms: Terms, seed: int, *, callers: int = CALLERS) -> None:
        """Call the replicas at `urls`, and take a call for lost that is not answered in the time of `terms`."""
        self.score = Score()
        known: set[tuple[str, str]] = set()
        self._callers = [_Caller(self.score, known, urls, terms, f"{seed}-{number}") for number in range(callers)]

    @property
    def purchases(self) -> list[Purchase]:
        """Everything that was bought, or tried to."""
        return [purchase for caller in self._callers for purchase in caller.buyer.purchases]

    def adopt(self, purchase: Purchase) -> None:
        """Take on a purchase of somebody who has left: it is sent again, and judged, as one of ours."""
        self._callers[0].buyer.purchases.append(purchase)

    async def run(self) -> None:
        """Call until stopped."""
        async with asyncio.TaskGroup() as group:
            for number, caller in enumerate(self._callers):
                group.create_task(caller.run(keeps_connections=number >= STRANGERS))

    def stop(self) -> None:
        """Let each caller finish the call that it is in."""
        for caller in self._callers:
            caller.is_stopping = True

    async def repeat_purchases(self) -> None:
        """Send what was bought under a key once more."""
        await asyncio.gather(*(caller.repeat() for caller in self._callers))


class _Caller:
    """One of them: asks for one task, for many, for somebody else's, under two tokens at once, and buys."""

    def __init__(self, score: Score, known: set[tuple[str, str]], urls: Sequence[str], terms: Terms, name: str) -> None:
        """`known` holds the tokens and ids that any of the callers has been told the end of."""
        self._random = Random(name)
        self._call_counter = score
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
                await self._call_somehow()
                await asyncio.sleep(PAUSE_SECONDS)

    async def repeat(self) -> None:
        async with _client(keeps_connections=True) as self._client:
            await self.buyer.repeat()

    async def _call_somehow(self) -> None:
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
        """Ask the same of one replica under two tokens at once: neither may get what was fetched for the other."""
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
            self._put_off(reply, {task_id: dict(reply.error) for task_id in wanted}, known, len(wanted))
            return
        tasks, missing = {task["task_id"]: task for task in reply.result["tasks"]}, set(reply.result["missing"])
        faults: Faults = {one["task_id"]: one for one in reply.result["unavailable"]}
        for task_id, task in tasks.items():
            self._check(token, task_id, task)
        for task_id in missing:
            self._check_missing(token, task_id)
        told = [*tasks, *missing, *faults]
        if sorted(told) != sorted(wanted):
            self._call_counter.find_wrong(f"asked about {len(wanted)} ids, told about {len(set(told) & set(wanted))}")
        self._put_off(reply, faults, known, len(wanted))

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
            self._put_off(reply, {wanted: dict(reply.error)}, known, 1)

    def _check(self, token: str, wanted: str, task: dict[str, Any]) -> None:
        if (untruth := untruth_in(token, wanted, task)) is not None:
            self._call_counter.find_wrong(untruth)
        elif task["state"] in ("completed", "failed"):
            self._known.add((token, wanted))

    def _check_missing(self, token: str, task_id: str) -> None:
        if true_state(token, task_id) is not None:
            self._call_counter.find_wrong(f"{task_id} was said not to be there")

    def _put_off(self, reply: Reply, faults: Faults, known: set[str], of: int) -> None:
        if faults:
            self._call_counter.put_off_ids(reply, faults, was_known=not known.isdisjoint(faults), of=of)

    async def _ask(self, question: Question, replica: int | None = None) -> Reply | None:
        """Return the answer, asking the other replica where one is gone, as a load balancer does."""
        self._call_counter.calls += 1
        waits = float(question.arguments.get("wait_seconds", 0))
        first = self._random.randrange(2) if replica is None else replica
        for attempt in range(TRIES):
            url = self._urls[(first + attempt) % 2]
            reply = await ask(self._client, url, question, self._terms.read_seconds + waits)
            if reply.fate in (Fate.UNREACHED, Fate.CUT):
                self._gone(reply)
                await asyncio.sleep(0.1 * attempt)
                continue
            return self._fit(reply, question.tool, is_timed=not waits)
        if self._terms.none_listens:
            self._call_counter.cut.append(reply)
        else:
            self._call_counter.lose(f"{question.tool} found no replica: {reply.words}")
        return None

    async def _send_purchase(self, replica: int, purchase: Purchase, seconds: float) -> Reply:
        self._call_counter.calls += 1
        question = Question(purchase.token, "luma_generate_video", purchase.arguments, self._era())
        reply = await ask(self._client, self._urls[replica], question, seconds)
        if reply.fate in (Fate.UNREACHED, Fate.CUT):
            self._gone(reply)
        else:
            self._fit(reply, question.tool, is_timed=True)
        return reply

    def _fit(self, reply: Reply, tool: str, *, is_timed: bool) -> Reply | None:
        """Return an answer that is one; lose any other."""
        if reply.fate is not Fate.ANSWERED:
            self._call_counter.lose(f"{tool} was {reply.words}")
            return None
        if is_timed:
            self._call_counter.answered(reply)
        return reply

    def _gone(self, reply: Reply) -> None:
        if reply.fate is Fate.CUT:
            self._call_counter.cut.append(reply)
        else:
            self._call_counter.unreached += 1

    def _era(self) -> str:
        return self._random.choice(ERAS)


def _client(*, keeps_connections: bool) -> httpx.AsyncClient:
    kept = 20 if keeps_connections else 0
    return httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=kept, keepalive_expiry=IDLE_SECONDS))
