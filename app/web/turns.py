"""Turns of the event loop: a token begins one request in each, however many are ready, while others are about.

Answers from the cache are nearly all computing, and the loop runs whatever is ready before it looks at anybody else.
Turns cost a token that is alone a fifth of its rate, so it takes none.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.principal import Principal
from app.web.guards import PRINCIPAL

SHARED_SECONDS = 0.25
"""How long after requests of two tokens tokens take turns."""


class Turns:
    """Lets requests in; where several tokens send them, the first of a token at once and those beside it one by one."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        """Stand behind the bearer token and before `app`; `clock` counts seconds and never goes back."""
        self._app = app
        self._clock = clock
        self._ready: dict[str, deque[asyncio.Future[None]]] = {}
        self._latest = ""
        self._shared_until = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether no token has begun a request in this turn, and none waits."""
        return not self._ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when it is its turn."""
        await self._turn(cast("Principal", scope[PRINCIPAL]).tenant)
        await self._app(scope, receive, send)

    async def _turn(self, owner: str) -> None:
        now = self._clock()
        if owner != self._latest:
            self._latest, self._shared_until = owner, now + SHARED_SECONDS
        if now >= self._shared_until:
            return
        loop = asyncio.get_running_loop()
        ready = self._ready.get(owner)
        if ready is None:
            self._ready[owner] = deque()
            loop.call_soon(self._go_on, loop, owner)
            return
        turn: asyncio.Future[None] = loop.create_future()
        ready.append(turn)
        await turn

    def _go_on(self, loop: asyncio.AbstractEventLoop, owner: str) -> None:
        """Let the next request of the token in, in the next turn of the loop; forget the token where none is left."""
        ready = self._ready[owner]
        while ready:
            turn = ready.popleft()
            if not turn.done():
                turn.set_result(None)
                loop.call_soon(self._go_on, loop, owner)
                return
        del self._ready[owner]
