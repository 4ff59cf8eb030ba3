"""What is examined of a message before the SDK reads it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app.web.json_rpc import Refused, examine

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
def test_examine_lets_no_message_through_that_the_sdk_would_answer_with_silence(message: dict[str, Any]) -> None:
    try:
        examined = examine(json.dumps(message).encode(), None)
    except Refused:
        return
    (kept,) = examined.messages
    number = json.loads(kept).get("id", 0)
    assert isinstance(number, str) or type(number) is int, "an odd id beside a plain one inside must be noticed"
