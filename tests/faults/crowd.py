"""The load: callers with many tokens, who hold each answer against what the oracle knows to be true."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.services.reservations import LONGEST_WAIT_SECONDS, REFUSED_WITHOUT_STORE
from tests.faults.oracle import true_state, video_url
from tests.support.service import ERAS, envelope

TOKENS = 20
IDS = 3_000
"""Ids of each kind: the same for every token, so that an answer of somebody else's shows by its address only."""

CALLERS = 12
TRIES = 6
PAUSE_SECONDS = 0.02


@dataclass
class Tally:
    """What became of the calls. `bad` holds the first few things that went wrong, in words."""

    calls: int = 0
    lost: int = 0
    wrong: int = 0
    unavailable: int = 0
    slowest: float = 0.0
    last_trouble_at: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost or untrue."""
        return not (self.lost or self.wrong)

    def lose(self, why: str) -> None:
        """Count a call that could have been answered and was not."""
        self.lost += 1
        self._note(why)

    def find_wrong(self, why: str) -> None:
        """Count an answer that is not true."""
        self.wrong += 1
        self._note(why)

    def trouble(self) -> None:
        """Note that not everything is as it was before the fault."""
        self.last_trouble_at = time.monotonic()

    def _note(self, why: str) -> None:
        self.trouble()
        if len(self.bad) < 5:
            self.bad.append(why)


class Crowd:
    """Callers who ask until they are told to stop."""

    def __init__(self, urls: Sequence[str], *, backend_is_faulty: bool, patience_seconds: float, seed: int) -> None:
        """Call the replicas at `urls`, and take a call for lost that is not answered in time.

        With a faulty backend, ids that nobody has read yet may be unavailable.
        """
        self.tally = Tally()
        self._urls = urls
        self._backend_is_faulty = backend_is_faulty
        self._patience_seconds = patience_seconds
        self._seed = seed
        self._random = random.Random(seed)
        self._turn = itertools.count()
        self._numbers = itertools.count()
        self._known: dict[tuple[str, str], float] = {}  # when an id was first read, by token and id
        self._stopping = False

    async def run(self) -> None:
        """Call until stopped."""
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(limits=limits) as client:
            await asyncio.gather(*(self._caller(client) for _ in range(CALLERS)))

    def stop(self) -> None:
        """Let each caller finish the call that it is in."""
        self._stopping = True

    async def _caller(self, client: httpx.AsyncClient) -> None:
        while not self._stopping:
            token = f"secret-token-{self._random.randrange(TOKENS)}"
            kind = self._random.random()
            if kind < 0.1:
                await self._buy(client, token)
            elif kind < 0.3:
                await self._ask_one(client, token)
            else:
                await self._ask_many(client, token, wait_seconds=1 if kind > 0.98 else 0)
            await asyncio.sleep(PAUSE_SECONDS)

    def _ids(self, count: int) -> list[str]:
        """Return ids of this crowd's own: what a replica remembers of an earlier one says nothing of the store."""
        return [f"{self._random.choice('fffxru')}-{self._seed}-{self._random.randrange(IDS)}" for _ in range(count)]

    async def _ask_many(self, client: httpx.AsyncClient, token: str, *, wait_seconds: int) -> None:
        wanted = list(dict.fromkeys(self._ids(self._random.choice((1, 3, 20, 60)))))
        arguments, asked_at = {"task_ids": wanted, "wait_seconds": wait_seconds}, time.monotonic()
        result = await self._call(client, token, "luma_get_tasks_batch", arguments)
        if result is None:
            return
        if "error" in result:
            self._failed(token, wanted, result["error"]["code"], asked_at)
            return
        seen = {task["task_id"] for task in result["tasks"]}
        for task in result["tasks"]:
            self._check(token, task)
        for task_id in result["missing"]:
            if true_state(task_id) is not None:
                self.tally.find_wrong(f"{task_id} was said to be missing")
        for entry in result["unavailable"]:
            self._failed(token, [entry["task_id"]], entry["code"], asked_at)
        told = seen | set(result["missing"]) | {entry["task_id"] for entry in result["unavailable"]}
        if told != set(wanted):
            self.tally.find_wrong(f"asked about {len(wanted)} ids, told about {len(told & set(wanted))}")

    async def _ask_one(self, client: httpx.AsyncClient, token: str) -> None:
        (wanted,), asked_at = self._ids(1), time.monotonic()
        result = await self._call(client, token, "luma_get_task", {"task_id": wanted})
        if result is None:
            return
        if "state" in result:
            self._check(token, result)
        elif result["error"]["code"] == "not_found":
            if true_state(wanted) is not None:
                self.tally.find_wrong(f"{wanted} was said not to be there")
        else:
            self._failed(token, [wanted], result["error"]["code"], asked_at)

    async def _buy(self, client: httpx.AsyncClient, token: str) -> None:
        """Buy a video; half of the callers name the purchase, and may then send it again."""
        number = next(self._numbers)
        arguments = {"prompt": f"secret prompt {self._seed}-{number}"}
        keyed = number % 2 == 0
        if keyed:
            arguments["idempotency_key"] = f"purchase-{self._seed}-{number}"
        result = await self._call(client, token, "luma_generate_video", arguments, again=keyed)
        if result is not None and "error" in result:
            self.tally.codes[f"buying: {result['error']['code']}"] += 1
            self.tally.trouble()
            if result["error"]["code"] == "internal_error" and REFUSED_WITHOUT_STORE not in result["error"]["message"]:
                self.tally.lose("buying met an internal error")

    def _check(self, token: str, task: dict[str, Any]) -> None:
        task_id, state = task["task_id"], true_state(task["task_id"])
        if task["state"] != state:
            self.tally.find_wrong(f"{task_id} was said to be {task['state']}, not {state}")
        elif state == "completed" and task.get("video_url") != video_url(token, task_id):
            self.tally.find_wrong(f"{task_id} came with somebody else's video")
        elif state in ("completed", "failed"):
            self._known.setdefault((token, task_id), time.monotonic())

    def _failed(self, token: str, wanted: Sequence[str], code: str, asked_at: float) -> None:
        """Count ids that were not answered; one that had been read before it was asked for is lost."""
        self.tally.unavailable += len(wanted)
        self.tally.codes[code] += len(wanted)
        self.tally.trouble()
        for task_id in wanted:
            if not self._backend_is_faulty:
                self.tally.lose(f"an id could not be read ({code}) although the backend was well")
            elif self._known.get((token, task_id), asked_at) < asked_at:
                self.tally.lose(f"an id that was read before could not be answered ({code})")

    async def _call(
        self, client: httpx.AsyncClient, token: str, tool: str, arguments: dict[str, Any], *, again: bool = True
    ) -> dict[str, Any] | None:
        """Return the typed result, asking the other replica where one is gone, as a load balancer does.

        A purchase that is sent again, under its key, may have to wait for what became of the first: longer than others.
        """
        self.tally.calls += 1
        message, headers = envelope("tools/call", {"name": tool, "arguments": arguments}, self._random.choice(ERAS))
        sent = {**headers, "authorization": f"Bearer {token}", "accept": "application/json"}
        started = time.monotonic()
        why = ""
        first = next(self._turn)
        for attempt in range(TRIES):
            url = self._urls[(first + attempt) % len(self._urls)]
            waits_for_another = attempt > 0 and "idempotency_key" in arguments
            patience = self._patience_seconds + (LONGEST_WAIT_SECONDS if waits_for_another else 0)
            try:
                answer = await client.post(f"{url}/mcp", json=message, headers=sent, timeout=patience)
            except httpx.ReadTimeout:
                self.tally.lose(f"{tool} was not answered within {patience:g} s")
                return None
            except httpx.TransportError as fault:
                why = type(fault).__name__
                self.tally.trouble()
                if not again and not isinstance(fault, httpx.ConnectError):
                    self.tally.codes["cut off while buying without a key"] += 1
                    return None
                await asyncio.sleep(0.1 * attempt)
                continue
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - started)
            return self._result(tool, answer)
        self.tally.lose(f"{tool} got no answer: {why}")
        return None

    def _result(self, tool: str, answer: httpx.Response) -> dict[str, Any] | None:
        if answer.status_code != 200:
            self.tally.lose(f"{tool} was answered with HTTP {answer.status_code}")
            return None
        body = answer.json()
        if "result" not in body:
            self.tally.lose(f"{tool} was answered with the error {body.get('error')}")
            return None
        result = body["result"]
        found = result.get("structuredContent", {}).get("result")
        if found is None:
            return None  # an era without structured results; its text is checked by the tests
        return dict(found)
