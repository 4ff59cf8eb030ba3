"""Hypothesis draws what fits the published schemas, and what fits none.

It knows the corners of text, numbers and nesting, which is what it is here for. Whole requests are grown from seeds out
of what it drew: drawing all of one takes some milliseconds, fifty times as long as growing it and longer than its
answer takes. Nor could it make a finding smaller: the requests in between have changed what the service knows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.surface import McpServer, Schema

OF_EACH_METHOD = 60
OF_EACH_TOOL = 100
ODD = 1_000

STRANGE_TEXTS = ("", " ", "\ud800", "\x00", "x" * 200, "16:9", "{}", "\u2028", "luma://tasks/", "__proto__", "../..")
STRANGE_NUMBERS = (-1, 10**20, -(2**63), float("nan"), float("inf"), -0.0)

_text = st.one_of(st.text(max_size=20), st.sampled_from(STRANGE_TEXTS))
_numbers = st.one_of(st.integers(), st.floats(), st.sampled_from(STRANGE_NUMBERS))
_anything: SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, _text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_text, inner, max_size=4)),
    max_leaves=8,
)


@dataclass(frozen=True)
class Shapes:
    """What was drawn: arguments of tools and parameters of methods as their schemas allow them, and odd values."""

    arguments: Mapping[str, list[Any]]
    params: Mapping[str, list[Any]]
    odd: list[Any]


def shapes(surface: McpServer, universe: int) -> Shapes:
    """Return the shapes of a universe: the same for the same number."""
    return Shapes(
        {tool: _drawn(_fitting(schema), OF_EACH_TOOL, universe) for tool, schema in surface.tools.items()},
        {method: _drawn(_fitting(schema), OF_EACH_METHOD, universe) for method, schema in surface.methods.items()},
        _drawn(_anything, ODD, universe),
    )


def _drawn(strategy: SearchStrategy[Any], most: int, universe: int) -> list[Any]:
    """Return up to `most` values; never none."""
    values: list[Any] = []

    @seed(universe)
    @settings(
        max_examples=most,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        values.append(value)

    draw()
    return values


def _fitting(schema: Schema) -> SearchStrategy[Any]:
    """Return what the schema allows."""
    definitions: dict[str, SearchStrategy[Any]] = {}

    def of(part: Schema) -> SearchStrategy[Any]:
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            if name not in definitions:
                definitions[name] = st.deferred(lambda: of(schema["$defs"][name]))
            return definitions[name]
        if choices := part.get("anyOf") or part.get("oneOf"):
            return st.one_of([of(choice) for choice in choices])
        if "const" in part or "enum" in part:
            return st.sampled_from(part.get("enum") or [part["const"]])
        return _of_type(part, of)

    return of(schema)


def _of_type(part: Schema, of: Callable[[Schema], SearchStrategy[Any]]) -> SearchStrategy[Any]:
    match part.get("type"):
        case "object" if "properties" in part:
            fields = {name: of(field) for name, field in part["properties"].items() if name != "_meta"}
            required = {name: field for name, field in fields.items() if name in part.get("required", ())}
            return st.fixed_dictionaries(required, optional={k: v for k, v in fields.items() if k not in required})
        case "array":
            return st.lists(of(part.get("items", {})), min_size=part.get("minItems", 0), max_size=4)
        case "number":
            return st.floats(part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum"))
        case kind:
            return _PLAIN.get(kind, _anything)


_PLAIN: Mapping[str | None, SearchStrategy[Any]] = {
    "object": st.dictionaries(_text, _anything, max_size=2),
    "string": _text,
    "integer": st.integers(),
    "boolean": st.booleans(),
    "null": st.none(),
}
