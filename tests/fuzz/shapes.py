"""Values drawn by Hypothesis: some that fit the published schemas, and some that fit none.

Hypothesis is used for its edge cases of text, numbers and nesting. The grammar builds whole requests from the drawn
values, because drawing a whole request takes some milliseconds, fifty times as long as building it and longer than its
response takes. Shrinking would not work either: earlier requests have changed the state of the service.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.surface import Schema, Surface

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
    """Drawn values: arguments by tool and parameters by method, which fit their schemas, and arbitrary JSON (`odd`)."""

    arguments: Mapping[str, list[Any]]
    params: Mapping[str, list[Any]]
    odd: list[Any]


def shapes(surface: Surface, seed: int) -> Shapes:
    """Draw the values for a seed. The same seed gives the same values."""
    return Shapes(
        {tool: _drawn(_fitting(schema), OF_EACH_TOOL, seed) for tool, schema in surface.tools.items()},
        {method: _drawn(_fitting(schema), OF_EACH_METHOD, seed) for method, schema in surface.methods.items()},
        _drawn(_anything, ODD, seed),
    )


def _drawn(strategy: SearchStrategy[Any], most: int, seed: int) -> list[Any]:
    """Return one to `most` values."""
    values: list[Any] = []

    @with_seed(seed)
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
    """Return a strategy for values that the JSON schema allows."""
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
