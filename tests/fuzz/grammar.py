"""The grammar: valid, mutated and nonsense requests, each generated from one number as its random seed.

Hypothesis draws only parts of them; shapes.py has the reason.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from tests.fuzz.changes import changed
from tests.fuzz.known import TOKENS, Known
from tests.fuzz.messages import Messages
from tests.fuzz.request import Request
from tests.fuzz.surface import Surface

ACCEPTED = ("application/json", "*/*", "application/json, text/event-stream", "application/json, text/event-stream")
METHODS = ("GET", "GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD")
SHARE_UNCHANGED = 0.45

_NO_STRICT_JSON = re.compile(rb"NaN|Infinity|\\ud[89a-f]", re.IGNORECASE)
"""JSON that the service's strict parser may reject, and then it cannot return the request's id."""


class Grammar:
    """A generator of requests."""

    def __init__(self, surface: Surface, messages: Messages, known: Known) -> None:
        self._surface = surface
        self._messages = messages
        self._known = known
        self._kinds: tuple[Callable[[Random, Request], Request], ...] = (self._message, self._batch, self._page)

    def grown(self, number: int) -> Request:
        """Return the request for the seed `number`. It also depends on what earlier responses told (`known`)."""
        random = Random(number)
        token = random.choice(TOKENS)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json", "x-request-id": f"{number}"}
        seed = Request(number, token, "POST", "/mcp", {**headers, "accept": random.choice(ACCEPTED)}, b"")
        return random.choices(self._kinds, (88, 4, 8))[0](random, seed)

    def _message(self, random: Random, request: Request) -> Request:
        """Return a request with one JSON-RPC message: SHARE_UNCHANGED of them valid, the others with one mutation."""
        message, headers = self._messages.one(random, request.token)
        if "id" in message:
            message["id"] = random.choice((request.number, f"id-{request.number}"))
        body, headers = json.dumps(message).encode(), {**request.headers, **headers}
        if message["method"] == "subscriptions/listen":
            headers["accept"] = ACCEPTED[-1]
        whole = replace(request, headers=headers, body=body, id=message.get("id"))
        if random.random() >= SHARE_UNCHANGED:
            return changed(random, message, whole, self._messages.odd)
        return replace(whole, id=None) if _NO_STRICT_JSON.search(body) else whole

    def _batch(self, random: Random, request: Request) -> Request:
        """Return a request with a JSON-RPC batch, which only the revision 2025-03-26 allows."""
        grown = [self._messages.one(random, request.token) for _ in range(random.randrange(5))]
        messages: list[Any] = [{**message, "id": number} for number, (message, _) in enumerate(grown)]
        if random.random() < 0.5:
            messages.insert(random.randrange(len(messages) + 1), self._messages.odd(random))
        headers = random.choice(grown)[1] if grown else {}
        return replace(request, headers={**request.headers, **headers}, body=json.dumps(messages).encode())

    def _page(self, random: Random, request: Request) -> Request:
        """Return a request for a path beside MCP: pages, probes, documents, and callbacks of the backend."""
        path = random.choice(self._surface.paths)
        if "{ticket}" in path:
            return self._callback(random, request)
        body = random.choice((b"", request.body, json.dumps(self._messages.odd(random)).encode()))
        return replace(request, method=random.choice(METHODS), path=path, body=body)

    def _callback(self, random: Random, request: Request) -> Request:
        (path, body), odd = self._known.callback(random), self._messages.odd
        path = random.choice((path, path, path, path[:-3], f"{path}AAAA", "/callbacks/%00", "/callbacks/a%2fb"))
        task_id = self._known.one(random, request.token, "task_id")
        said = random.choice((body, body, body, {"task_id": task_id}, {"task_id": odd(random)}, odd(random)))
        headers = {key: value for key, value in request.headers.items() if key != "authorization"}
        return replace(request, path=path, headers=headers, body=json.dumps(said).encode())
