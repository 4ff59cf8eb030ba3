"""JSON-RPC messages of each protocol revision that fit the published schemas, most of them about existing tasks."""

from collections.abc import Callable
from random import Random
from typing import Any

from mcp.shared.inbound import encode_header_value

from app.adapters.sandbox.tasks import PROMPT_WORDS
from app.domain.generation import ASPECT_RATIOS
from app.mcp_server.extensions.tasks import EXTENSION
from app.mcp_server.resources.tasks import URI_TEMPLATE, task_uri
from tests.fuzz.known import Known
from tests.fuzz.shapes import Shapes
from tests.fuzz.surface import Surface
from tests.support.service import ERAS, MODERN, envelope

SHARE_OF_CALLS = 0.4
SHARE_OF_REAL_VALUES = 0.85
SHARE_OF_PURCHASES = 0.1
"""The share of submissions that the backend accepts, so that a run buys some hundred videos and not ten thousand."""

WAITS = (0, 0, 0.05, 0.2, None, "0.05", -1, 51, True)
KEYS = 40
NOT_METHODS = ("no/such/method", "", "tools/call ", "rpc.discover", "notifications/no_such")
URIS = ("luma://tasks/", "luma://tasks/a b", "https://example.com/a", "file:///etc/passwd", URI_TEMPLATE)
URLS = (
    *(3 * ("https://example.com/a.jpg",)),
    "http://127.0.0.1/a.jpg",
    "https://[::1]/",
    "ftp://example.com/a",
    "https://é.com/",
)

Field = Callable[[Random, str], Any]


class Messages:
    """A generator of messages for the methods and tools of the service."""

    def __init__(self, surface: Surface, shapes: Shapes, known: Known) -> None:
        self._surface = surface
        self._shapes = shapes
        self._known = known
        self._methods = (*surface.methods, *surface.methods, *NOT_METHODS)
        self._tools = (*surface.tools, *surface.tools, "no_such_tool")
        self._meant = self._fields()

    def one(self, random: Random, token: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return a random message and its HTTP headers."""
        era = random.choice((*ERAS, MODERN, MODERN))
        method = "tools/call" if random.random() < SHARE_OF_CALLS else random.choice(self._methods)
        params = self._call(random, token) if method == "tools/call" else self._params(random, token, method)
        message, headers = envelope(method, {**params, "_meta": _meta(random)}, era)
        if isinstance(name := headers.pop("mcp-name", None), str):
            headers["mcp-name"] = encode_header_value(name.encode("utf-8", "replace").decode())
        if method.startswith("notifications/"):
            del message["id"]
        return message, headers

    def odd(self, random: Random) -> Any:
        """Return a random JSON value."""
        return random.choice(self._shapes.odd)

    def _call(self, random: Random, token: str) -> dict[str, Any]:
        tool = random.choice(self._tools)
        arguments = self._real(random, token, random.choice(self._shapes.arguments.get(tool, self._shapes.odd)))
        return {"name": tool, "arguments": arguments}

    def _params(self, random: Random, token: str, method: str) -> dict[str, Any]:
        shape = random.choice(self._shapes.params.get(method, [{}])) or {}
        params: dict[str, Any] = self._real(random, token, shape)
        if method == "prompts/get" and random.random() < SHARE_OF_REAL_VALUES:
            name, taken = random.choice(list(self._surface.prompts.items()))
            return {"name": name, "arguments": {each: random.choice((*ASPECT_RATIOS, "a fox")) for each in taken}}
        return params

    def _real(self, random: Random, token: str, shape: Any) -> Any:
        """Return the drawn value, with meaningful values in most of the fields whose names are known."""
        if isinstance(shape, list):
            return [self._real(random, token, item) for item in shape]
        if not isinstance(shape, dict):
            return shape
        return {name: self._field(random, token, name, value) for name, value in shape.items()}

    def _field(self, random: Random, token: str, name: str, drawn: Any) -> Any:
        meant = self._meant.get(name)
        if name == "wait_seconds" or (meant is not None and random.random() < SHARE_OF_REAL_VALUES):
            return self._meant[name](random, token)
        return self._real(random, token, drawn)

    def _fields(self) -> dict[str, Field]:
        """Return a generator of meaningful values for each known name of an argument or parameter."""
        one = self._known.one
        prompts = tuple(self._surface.prompts)

        def known_uri(random: Random, token: str) -> str:
            return _uri(random, one(random, token, "task_id"))

        return {
            "task_id": lambda r, t: one(r, t, "task_id"),
            "task_ids": lambda r, t: [one(r, t, "task_id") for _ in range(r.choice((1, 2, 5, 30)))],
            "taskId": lambda r, t: one(r, t, "taskId"),
            "video_id": lambda r, t: one(r, t, "video_id"),
            "video_url": lambda r, t: one(r, t, "video_url"),
            "wait_seconds": lambda r, _: r.choice(WAITS),
            "prompt": lambda r, _: "A fox" if r.random() < SHARE_OF_PURCHASES else f"A fox {r.choice(_TURNED_DOWN)}",
            "idempotency_key": lambda r, _: r.choice((None, f"key-{r.randrange(KEYS)}")),
            "timeout": lambda r, _: r.choice((None, 0.5, 60, 3600, 0, "60")),
            "start_image_url": lambda r, _: r.choice(URLS),
            "end_image_url": lambda r, _: r.choice((*URLS, "")),
            "callback_url": lambda r, _: r.choice((*URLS, None)),
            "uri": known_uri,
            "name": lambda r, _: r.choice((*prompts, "aspect_ratio", "task_id")),
            "value": lambda r, t: r.choice(("", "1", "16:9", one(r, t, "task_id")[:4])),
            "protocolVersion": lambda r, _: r.choice((*ERAS, "1999-01-01")),
            "notifications": lambda r, t: {
                "resourceSubscriptions": [known_uri(r, t) for _ in range(r.randrange(3))],
                "taskIds": [one(r, t, "taskId") for _ in range(r.randrange(3))],
                "toolsListChanged": r.random() < 0.5,
            },
        }


_TURNED_DOWN = tuple(word for word in PROMPT_WORDS if word in ("[refuse]", "[broke]"))


def _uri(random: Random, task_id: str) -> str:
    return task_uri(task_id) if random.random() < SHARE_OF_REAL_VALUES else random.choice(URIS)


def _meta(random: Random) -> dict[str, Any]:
    """Return the `_meta` of a request: often a progress token or the client's capabilities."""
    meta: dict[str, Any] = {}
    if random.random() < 0.25:
        meta["progressToken"] = random.choice((7, "p-1", "", 10**15))
    if random.random() < 0.6:
        meta["io.modelcontextprotocol/clientCapabilities"] = {"extensions": {EXTENSION: {}}}
    return meta
