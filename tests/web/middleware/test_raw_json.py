"""RawJsonMiddleware: large values replace their placeholders in a response as it is sent."""

import gc
import json
import weakref
from collections.abc import Sequence

from starlette.types import Message, Receive, Scope, Send

from app.mcp_server.tools.json_bytes import to_json
from app.web.middleware.raw_json import PENDING_VALUES, RawJsonMiddleware


class Connection:
    """A stand-in for uvicorn's request cycle: it holds the scope of its request and a send function."""

    def __init__(self) -> None:
        self.scope: Scope = {"type": "http"}

    async def send(self, message: Message) -> None:
        pass


HEAD: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"7")],
}


def body(content: str, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content.encode(), "more_body": more}


async def sent(values: Sequence[object], answer: str) -> list[Message]:
    """Send `answer` through the middleware and return the messages that the client gets.

    In `answer`, "|" separates body parts, and {0}, {1} … are the placeholders of `values`.
    """
    out: list[Message] = []

    async def answering(scope: Scope, _receive: Receive, send: Send) -> None:
        placeholders = [json.dumps(scope[PENDING_VALUES].add(to_json(value))) for value in values]
        parts = answer.format(*placeholders).split("|")
        await send(HEAD)
        for number, part in enumerate(parts, 1):
            await send(body(part, more=number < len(parts)))

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        out.append(message)

    await RawJsonMiddleware(answering)({"type": "http"}, receive, send)
    return out


async def test_an_answer_without_placeholders_is_unchanged() -> None:
    assert await sent([], "[1]") == [HEAD, body("[1]")]


async def test_values_replace_their_placeholders_and_content_length_is_updated() -> None:
    head, answer = await sent([{"é": [1]}, 'two "lines"\n'], '{{"a":{0},"b":{1}}}')
    assert json.loads(answer["body"]) == {"a": {"é": [1]}, "b": 'two "lines"\n'}
    assert dict(head["headers"])[b"content-length"] == str(len(answer["body"])).encode()


async def test_values_may_be_used_in_another_order_than_given() -> None:
    _, answer = await sent([1, [2]], "[{1},{0}]")
    assert answer["body"] == b"[[2],1]"


async def test_an_answer_in_parts_has_no_length_and_each_value_once() -> None:
    head, *answers = await sent(["x" * 9], "event: progress|data: {0}|")
    assert b"content-length" not in dict(head["headers"])
    assert [answer["body"] for answer in answers] == [b"event: progress", b'data: "xxxxxxxxx"', b""]
    assert [answer["more_body"] for answer in answers] == [True, True, False]


async def test_a_finished_request_is_freed_without_the_garbage_collector() -> None:
    async def answering(scope: Scope, _receive: Receive, send: Send) -> None:
        await send(body(json.dumps(scope[PENDING_VALUES].add(to_json("x")))))

    async def receive() -> Message:
        return {"type": "http.request"}

    connection = Connection()
    ended = weakref.ref(connection)
    gc.disable()
    try:
        await RawJsonMiddleware(answering)(connection.scope, receive, connection.send)
        del connection
        assert ended() is None
    finally:
        gc.enable()
