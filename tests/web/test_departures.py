"""Clients that leave while several of their requests are on the way."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from app.web.departures import Departures
from tests.support.process import environment, serving_process
from tests.support.service import MODERN, call_bytes, envelope


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def receive() -> Message:
    return {"type": "http.request"}


async def test_an_answer_that_can_no_longer_be_sent_is_dropped() -> None:
    async def send(message: Message) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    await Departures(answering)({"type": "http"}, receive, send)


async def test_a_fault_of_ours_in_an_answer_is_none_of_its_business() -> None:
    async def send(message: Message) -> None:
        raise RuntimeError("Response content longer than Content-Length")

    with pytest.raises(RuntimeError, match="Content-Length"):
        await Departures(answering)({"type": "http"}, receive, send)


def test_a_client_that_leaves_two_requests_behind_leaves_no_traceback(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        task_id = _generate(server.url)
        waiting = call_bytes("luma_get_task", {"task_id": task_id, "wait_seconds": 1}, "token")
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
            client.sendall(waiting * 2)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b"", "it is closed before the first request is answered"
    assert "exception" not in server.log()


def _generate(url: str) -> str:
    message, headers = envelope("tools/call", {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}}, MODERN)
    sent = {**headers, "authorization": "Bearer token", "accept": "application/json"}
    answer = httpx.post(f"{url}/mcp", json=message, headers=sent, timeout=30).json()
    return str(answer["result"]["structuredContent"]["result"]["task_id"])
