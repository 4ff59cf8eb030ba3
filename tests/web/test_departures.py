"""Clients that leave while several of their requests are on the way."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.support.process import environment, serving_process
from tests.support.service import MODERN, call_bytes, envelope, request_bytes


def test_a_client_that_leaves_two_requests_behind_leaves_no_traceback(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        task_id = _generate(server.url)
        waiting = call_bytes("luma_get_task", {"task_id": task_id, "wait_seconds": 1}, "token")
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as client:
            client.sendall(waiting * 2)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b"", "it is closed before the first request is answered"
    assert "exception" not in server.log()


def test_a_listener_that_leaves_another_request_behind_is_noticed(tmp_path: Path) -> None:
    message, headers = envelope("subscriptions/listen", {"notifications": {}}, MODERN)
    listening = request_bytes(message, {**headers, "accept": "application/json, text/event-stream"}, "token")
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=10) as client:
            client.sendall(listening * 2)
            come = b""
            while b"acknowledged" not in come:
                come += client.recv(10_000)
        assert httpx.get(f"{server.url}/livez").status_code == 200
    assert "without completing response" not in server.log(), "a stream went on until the service stopped"


def _generate(url: str) -> str:
    message, headers = envelope("tools/call", {"name": "luma_generate_video", "arguments": {"prompt": "A fox"}}, MODERN)
    sent = {**headers, "authorization": "Bearer token", "accept": "application/json"}
    answer = httpx.post(f"{url}/mcp", json=message, headers=sent, timeout=30).json()
    return str(answer["result"]["structuredContent"]["result"]["task_id"])
