"""One token does not take the event loop from the others."""

import asyncio
from collections import Counter

from starlette.types import Receive, Scope, Send

from app.domain.principal import Principal
from app.web.guards import PRINCIPAL
from app.web.turns import SHARED_SECONDS, Turns
from tests.support.clock import HandClock


async def _nothing(*_: object) -> None:
    """Stand for what no request here uses."""


class Busy:
    """An application that notes, for each request, the turn of the loop in which it began."""

    def __init__(self) -> None:
        self.turn = 0
        self.began: list[tuple[str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began.append((scope["name"], self.turn))

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


def request(turns: Turns, name: str) -> asyncio.Task[None]:
    scope = {PRINCIPAL: Principal(tenant=name, credential=name), "name": name}
    return asyncio.ensure_future(turns(scope, _nothing, _nothing))  # type: ignore[arg-type]


async def test_a_token_begins_one_request_in_a_turn_and_others_begin_at_once() -> None:
    busy = Busy()
    turns = Turns(busy)
    counting = asyncio.create_task(busy.count())
    await asyncio.gather(*(request(turns, name) for name in ["many"] * 30 + ["one"]))
    counting.cancel()
    began = Counter(turn for name, turn in busy.began if name == "many")
    assert began.total() == 30
    assert max(began.values()) == 1
    (other,) = (turn for name, turn in busy.began if name == "one")
    assert other == min(began)


async def test_a_token_that_is_alone_takes_no_turns(clock: HandClock) -> None:
    busy = Busy()
    turns = Turns(busy, clock)
    await asyncio.gather(*(request(turns, name) for name in ("many", "one", "many")))
    clock.advance(SHARED_SECONDS)
    counting = asyncio.create_task(busy.count())
    busy.began.clear()
    await asyncio.gather(*(request(turns, "many") for _ in range(30)))
    counting.cancel()
    assert len({turn for _, turn in busy.began}) == 1


async def test_a_request_that_leaves_while_it_waits_stops_nobody_and_nothing_is_kept() -> None:
    busy = Busy()
    turns = Turns(busy)
    requests = [request(turns, "many") for _ in range(10)]
    await asyncio.sleep(0)
    for leaving in requests[1::2]:
        leaving.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    assert len(busy.began) == 5
    for _ in range(3):
        await asyncio.sleep(0)
    assert turns.is_idle
