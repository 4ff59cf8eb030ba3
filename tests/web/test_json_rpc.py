"""The checks of a JSON-RPC message before it reaches the SDK."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app.web.json_rpc import MAX_IN_A_BATCH, MAX_RESPONSE_VALUES, MAX_VALUES, InvalidBody, check_body

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@examples(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.just("2.0") | _VALUES,
            "id": _VALUES,
            "method": st.just("ping") | _VALUES,
            "params": _VALUES,
            "result": _VALUES,
        },
    )
)
def test_check_body_rejects_messages_that_the_sdk_would_not_answer(message: dict[str, Any]) -> None:
    try:
        checked = check_body(json.dumps(message).encode(), None)
    except InvalidBody:
        return
    (kept,) = checked.messages
    number = json.loads(kept).get("id", 0)
    assert isinstance(number, str) or type(number) is int, "an odd id beside a plain one inside must be noticed"


@examples(deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=8), _VALUES, max_size=3), min_size=1, max_size=MAX_IN_A_BATCH),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_the_messages_of_a_batch_keep_their_bytes(
    params: list[dict[str, Any]], ensure_ascii: bool, indent: int | None
) -> None:
    messages = [{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": one} for one in params]
    body = json.dumps(messages, ensure_ascii=ensure_ascii, indent=indent).encode(errors="surrogatepass")
    kept = check_body(body, None).messages
    assert [json.loads(one) for one in kept] == messages
    assert sum(map(len, kept)) < len(body)


def _message(params: dict[str, Any], method: str = "tools/call") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "luma_list_actions", **params}}


@pytest.mark.parametrize(
    "message",
    [
        _message({"inputResponses": {"a": {"content": [0] * MAX_RESPONSE_VALUES}}}),
        _message({"inputResponses": {str(number): 0 for number in range(MAX_RESPONSE_VALUES + 1)}}),
        _message({"_meta": {"io.modelcontextprotocol/clientInfo": {"icons": [0] * MAX_VALUES}}}),
        _message({"_meta": {"x": [{}] * MAX_VALUES}}),
        _message({"arguments": {str(number): 0 for number in range(MAX_VALUES)}}, "prompts/get"),
        {"x": [0] * (MAX_VALUES + 1)},
    ],
    ids=["responses", "entries", "icons", "objects", "arguments of a prompt", "no message"],
)
@pytest.mark.parametrize("write", [json.dumps, lambda value: json.dumps(value).replace("inputR", "input\\u0052")])
def test_a_message_with_too_many_values_is_refused_before_the_sdk_validates_them(message: Any, write: Any) -> None:
    with pytest.raises(InvalidBody) as caught:
        check_body(write(message).encode(), None)
    assert caught.value.code == -32600


def test_arguments_of_tools_and_texts_may_hold_any_number_of_values() -> None:
    arguments = {"task_ids": ["a"] * 2 * MAX_VALUES, "prompt": "a, [b], {c}" * MAX_VALUES}
    body = json.dumps(_message({"arguments": arguments, "inputResponses": {"confirm": {"action": "accept"}}})).encode()
    assert check_body(body, None).messages == [body]
