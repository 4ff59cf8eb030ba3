"""Traces go where the standard variables say, and carry nothing secret."""

import asyncio
import gzip
import signal
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.process import environment, serving_process
from tests.support.service import listening


async def test_each_call_is_a_span_at_the_collector(tmp_path: Path) -> None:
    received: list[bytes] = []

    async def traces(request: Request) -> Response:
        body = await request.body()
        received.append(gzip.decompress(body) if request.headers.get("content-encoding") == "gzip" else body)
        return Response(media_type="application/x-protobuf")

    async with listening(Starlette(routes=[Route("/v1/traces", traces, methods=["POST"])])) as collector:
        env = environment() | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
            await asyncio.to_thread(_call, server.url)
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, 30) == 0
    spans = b"".join(received)
    assert b"tools/call luma_generate_video" in spans
    assert b"secret-token" not in spans
    assert b"private platypus" not in spans


def _call(url: str) -> None:
    params = {"name": "luma_generate_video", "arguments": {"prompt": "A private platypus"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    httpx.post(f"{url}/mcp", json=message, headers={"authorization": "Bearer secret-token"})
