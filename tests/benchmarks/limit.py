"""The upper bound for the service: a bare Starlette route that reads values with one MGET and joins the bytes.

The request is `{"keys": [...]}`, with keys `bare:<size>:<number>`; the response lists their values.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.serve import serve


def bare(redis_url: str) -> Starlette:
    """Return the application over the Redis at `redis_url`."""
    redis = Redis.from_url(redis_url)

    async def tasks(request: Request) -> Response:
        asked = json.loads(await request.body())
        values = cast("list[bytes]", await redis.mget(asked["keys"]))
        return Response(b'{"tasks":[' + b",".join(values) + b"]}", media_type="application/json")

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await redis.aclose()

    return Starlette(routes=[Route("/mcp", tasks, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    serve(bare(sys.argv[1]))
