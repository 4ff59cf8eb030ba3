"""Long values that take their place in an answer on its way out."""

import json
from collections.abc import Sequence

from starlette.types import Message

from app.mcp_server.json_text import json_text
from app.web.embedding import Embedded

HEAD: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"7")],
}


def body(content: str, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content.encode(), "more_body": more}


async def sent(embedded_values: Sequence[object], answer: str, *, parts: int = 1) -> list[Message]:
    """Send `answer`, in which {0}, {1} … stand for the marks, in so many parts; return what the client gets."""
    out: list[Message] = []

    async def send(message: Message) -> None:
        out.append(message)

    embedded = Embedded(send)
    marks = [json.dumps(embedded.add(json_text(value))) for value in embedded_values]
    lines = answer.format(*marks).split("|")
    await embedded.send(HEAD)
    for number, line in enumerate(lines[:parts]):
        await embedded.send(body(line, more=number < parts - 1))
    return out


async def test_an_answer_without_values_goes_out_as_it_came() -> None:
    assert await sent([], "[1]") == [HEAD, body("[1]")]


async def test_values_take_the_place_of_their_marks_and_the_length_is_true() -> None:
    head, answer = await sent([{"é": [1]}, 'two "lines"\n'], '{{"a":{0},"b":{1}}}')
    assert json.loads(answer["body"]) == {"a": {"é": [1]}, "b": 'two "lines"\n'}
    assert dict(head["headers"])[b"content-length"] == str(len(answer["body"])).encode()


async def test_an_answer_in_parts_has_no_length_and_each_value_once() -> None:
    head, *answers = await sent(["x" * 9], "event: progress|data: {0}|", parts=3)
    assert b"content-length" not in dict(head["headers"])
    assert [answer["body"] for answer in answers] == [b"event: progress", b'data: "xxxxxxxxx"', b""]
    assert [answer["more_body"] for answer in answers] == [True, True, False]
