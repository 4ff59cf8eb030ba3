"""Tests of the fuzzer's checks: each is given a failure that it must find."""

import asyncio
import json

import pytest

from tests.fuzz import connection
from tests.fuzz.connection import Connection, Silence
from tests.fuzz.findings import Findings, tells_of_a_fault
from tests.fuzz.request import Answer, Request
from tests.support.raw_http import raw_server, write_json

REQUEST = Request(7, "token", "POST", "/mcp", {}, b"{}", id=7)
JSON = b"http/1.1 200 ok\r\ncontent-type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, JSON, b""),
        Answer(200, JSON, b'{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"x"}}'),
        Answer(200, JSON, b'{"jsonrpc":"2.0","id":8,"result":{}}'),
        Answer(200, JSON, b"<html>"),
        Answer(202, JSON, b""),
    ],
    ids=["5xx", "internal error", "answer to another", "no JSON", "no answer"],
)
def test_judge_reports_a_wrong_answer(answer: Answer) -> None:
    findings = Findings()
    findings.judge(REQUEST, b"", answer)
    assert [finding.numbers for finding in findings.found] == [(7,)]


def test_judge_accepts_a_json_rpc_error() -> None:
    findings = Findings()
    findings.judge(REQUEST, b"", Answer(400, JSON, b'{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"x"}}'))
    assert not findings.found


@pytest.mark.parametrize(
    ("line", "is_fault"),
    [
        (json.dumps({"event": "call", "level": "info"}), False),
        (json.dumps({"event": "Answered 421 to requests", "level": "warning"}), False),
        (json.dumps({"event": "A tool call failed with internal_error", "level": "error"}), True),
        (json.dumps({"event": "x", "level": "info", "exception": ["ValueError"]}), True),
        ("Traceback (most recent call last):", True),
        ("Fatal Python error", True),
    ],
)
def test_a_log_line_that_reports_a_fault_is_found(line: str, is_fault: bool) -> None:
    assert tells_of_a_fault(line) is is_fault


async def test_ask_raises_silence_when_no_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENCE_SECONDS", 0.05)
    async with raw_server(lambda _writer, _body: asyncio.sleep(0)) as server:
        with Connection(int(server.url.rpartition(":")[2])) as client, pytest.raises(Silence):
            await client.ask(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", listens=False, no_body=False)


async def test_ask_reads_a_whole_answer() -> None:
    async def answer(writer: asyncio.StreamWriter, _body: object) -> None:
        write_json(writer, {"id": 7})

    async with raw_server(answer) as server:
        with Connection(int(server.url.rpartition(":")[2])) as client:
            read = await client.ask(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", listens=False, no_body=False)
    assert (read.status, read.ids()) == (200, [7])
