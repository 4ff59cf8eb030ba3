"""Values from earlier responses, so that later requests can refer to tasks and videos that exist."""

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from random import Random
from typing import Any
from urllib.parse import urlsplit

from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.token_sealer import TokenSealer
from app.composition.services import CALLBACKS_PATH
from app.services.purchases.callbacks import PURPOSE

TOKENS = ("fuzz-a", "fuzz-b", "fuzz-c", "fuzz-d", "fuzz-e=")
KEPT = 60
"""The most values of each kind and token: enough for tasks in all states."""

TICKETS_WITHOUT_A_TASK = 20

_TOLD = re.compile(rb'"(task_id|taskId|video_id|video_url)":"([^"\\\s]{1,400})"')

Kind = str


class Known:
    """Ids, handles and URLs by kind and token, and the callbacks of the backend that were not sent yet."""

    def __init__(self, secret_key: str) -> None:
        """Start with some callback tickets that are sealed with the right key, without a time of issue or a task."""
        self.videos = 0
        sealer, tenants = TokenSealer(secret_key), PassthroughAuthenticator(secret_key)
        self._told: dict[tuple[str, Kind], deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._callbacks: deque[tuple[str, Any]] = deque(maxlen=KEPT)
        for number in range(TICKETS_WITHOUT_A_TASK):
            tenant = tenants.hash_token(TOKENS[number % len(TOKENS)])
            ticket = sealer.seal(PURPOSE, {"tenant": tenant, "number": f"{number}"})
            self._callbacks.append((f"{CALLBACKS_PATH}/{ticket}", {"task_id": f"early-{number % 3}"}))

    def learn(self, token: str, body: bytes) -> None:
        """Add the values in a response to a request under `token`."""
        for kind, told in _TOLD.findall(body):
            values, value = self._told[token, kind.decode()], told.decode("utf-8", "replace")
            if value not in values:
                values.append(value)

    def one(self, random: Random, token: str, kind: Kind) -> str:
        """Return a value of this kind, mostly one of the token's own; sometimes, or if none is known, an unknown id."""
        owner = token if random.random() < 0.8 else random.choice(TOKENS)
        values = self._told.get((owner, kind))
        return random.choice(values) if values and random.random() < 0.8 else f"unknown-{random.randrange(99)}"

    async def deliver(self, url: str, body: Mapping[str, Any]) -> None:
        """Keep a callback of the backend, which the grammar sends later as one of its requests."""
        self.videos += 1
        path = urlsplit(url).path
        if path.startswith(CALLBACKS_PATH):
            self._callbacks.append((path, body))

    def callback(self, random: Random) -> tuple[str, Any]:
        """Return the path and the body of a callback."""
        return random.choice(self._callbacks)
