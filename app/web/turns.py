"""Turns of the event loop: a token begins one request in each, however many of its requests are ready.

Answers from the cache are nearly all computing, and the loop runs whatever is ready before it looks at anybody else.
"""

import asyncio
from collections import deque
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from app.domain.principal import Principal
from app.web.guards import PRINCIPAL


class Turns:
    """Lets requests in; the first of a token at once, and those beside it one by one."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand behind the bearer token and before `app`."""
        self._app = app
        self._ready: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no token has begun a request in this turn, and none waits."""
        return not self._ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when it is its turn."""
        await self._turn(cast("Principal", scope[PRINCIPAL]).tenant)
        await self._app(scope, receive, send)

    async def _turn(self, owner: str) -> None:
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
