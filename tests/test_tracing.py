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
    assert b"made-up" not in spans, "callers name no spans"
    assert b"0af7651916cd43dd8448eb211c80319c" in bytes(spans).hex().encode(), "the caller's trace goes on"
    assert b"private platypus" not in spans


def _call(url: str) -> None:
    params = {"name": "luma_generate_video", "arguments": {"prompt": "A private platypus"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    meta = {"_meta": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "baggage": "made-up=1"}}
    made_up = {"name": "made-up-tool", "arguments": {}}
    for sent in (
        message,
        {**message, "params": {**params, **meta}},
        {**message, "params": made_up},
        {**message, "method": "made-up/method"},
        {**message, "id": "made-up-id"},
    ):
        httpx.post(f"{url}/mcp", json=sent, headers={"authorization": "Bearer secret-token"})
