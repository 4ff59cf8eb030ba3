"""Forged tokens: 10,000 that no key of the issuer has signed, or team keys with a wrong checksum.

They come twice: from an address whose refused tokens are throttled, and to a service that checks each of them.

As a program, it sends them: `python -m tests.attacks.forgeries PORT FILE`, where the file has the tokens. It sends a
round for each line on standard input, and answers with the number of refusals. A process of its own keeps its work out
of the times that the honest caller measures.
"""

import asyncio
import hmac
import re
import statistics
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from app.adapters.auth.jwt.issuer_keys import RETRY_SECONDS
from app.domain import api_key_format
from tests.attacks.attacks import Case
from tests.attacks.target import Connection, Figure, Target, batch, raw
from tests.support.issuer import AUDIENCE, Realm, written

ROUNDS = 25
FORGERIES_IN_A_ROUND = 400
ROUND_SECONDS = 2.0
"""Time in which the forgeries of a round are sent, 200 a second: the service works a twentieth of it for them."""

QUIET_SECONDS = 1.0
"""Time before each round without forgeries, so that both medians are of the same minute."""

MAX_PERCENT = 10.0
"""Limit by which an honest caller's cached batch may be slower while forgeries come (issue 16, 5)."""

CACHED = [f"cached-{number}" for number in range(50)]

CHECKED = re.compile(r"^luma_mcp_tokens_refused_total\{[^}]*\} (\S+)$", re.MULTILINE)
"""Matches the counters of tokens that were checked and refused."""

REFUSED = re.compile(
    r"^luma_mcp_(?:tokens_refused_total\{[^}]*|limits_reached_total\{limit=\"refused_tokens\")\} (\S+)$", re.MULTILINE
)
"""Matches those, and the counter of tokens that were refused unchecked, because their address had sent too many."""

UNTHROTTLED = {"refused_tokens_per_minute": "1000000"}


def forged_tokens(realm: Realm) -> Iterator[str]:
    """Return forged tokens without end, each of them once: of every kind by turns."""
    public_key = realm.published()[0]["n"].encode()
    for number in count():
        claims = realm.claims(time.time(), jti=f"forged-{number}")
        header = {"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}
        yield written({"alg": "none"}, claims)
        unsigned = written({**header, "alg": "HS256"}, claims).removesuffix(".")
        mac = hmac.digest(public_key, unsigned.encode(), "sha256")
        yield f"{unsigned}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        yield written(header, {**claims, "aud": f"{AUDIENCE}/other"}, b"s" * 256)
        yield written(header, {**claims, "exp": 1}, b"s" * 256)
        yield written({**header, "kid": f"made-up-{number}"}, claims, b"s" * 256)
        yield written(header, claims, number.to_bytes(8) * 32)
        yield written({**header, "alg": "ES256", "kid": "ec-1"}, claims, number.to_bytes(8) * 8)
        yield written(header, {**claims, "groups": f"{number}" + "g" * 8000}, b"s" * 256)
        yield f"{api_key_format.PREFIX}{number:049}"


async def exchange(connection: Connection, request: bytes) -> int:
    """Send a request, read the whole answer, and return its status."""
    await connection.send(request)
    head = await connection.reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    await connection.reader.readexactly(int(length[1]) if length is not None else 0)
    return int(head.split(maxsplit=2)[1])


async def _send_round(connection: Connection, requests: Iterator[bytes]) -> int:
    """Send the forgeries of one round at an even rate, and return how many were refused."""
    loop = asyncio.get_running_loop()
    began, refused = loop.time(), 0
    for number, request in enumerate(islice(requests, FORGERIES_IN_A_ROUND), 1):
        refused += await exchange(connection, request) in (401, 429)
        await asyncio.sleep(max(0.0, began + number * ROUND_SECONDS / FORGERIES_IN_A_ROUND - loop.time()))
    return refused


async def main(port: int, tokens: list[str]) -> None:
    """Send a round for each line on standard input."""
    requests = iter([raw(*batch(["forged"]), token) for token in tokens])
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    while await asyncio.to_thread(sys.stdin.readline):
        print(await _send_round(connection, requests), flush=True)  # noqa: T201 - the answer


@asynccontextmanager
async def _flooding(target: Target, realm: Realm) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run this module as a program, with the forgeries of all rounds."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokens"
        file.write_text("\n".join(islice(forged_tokens(realm), ROUNDS * FORGERIES_IN_A_ROUND)))
        command = [sys.executable, "-m", __name__, str(target.port), str(file)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        try:
            yield process
        finally:
            process.terminate()
            await process.wait()


async def _flood_round(process: asyncio.subprocess.Process) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    return int(await process.stdout.readline())


async def _cached_seconds(connection: Connection, until: asyncio.Future[Any]) -> list[float]:
    """Return the times of an honest caller's cached batches, one after another until the future is done."""
    request, times = raw(*batch(CACHED), "honest"), []
    while not until.done():
        started = time.perf_counter()
        assert await exchange(connection, request) == 200
        times.append(time.perf_counter() - started)
    return times


async def _counted(target: Target, counters: re.Pattern[str]) -> float:
    """Return the sum of the service's counters that match."""
    async with httpx.AsyncClient() as http:
        metrics = await http.get(target.service.url.replace("/mcp", "/metrics"))
    return sum(map(float, counters.findall(metrics.text)))


@asynccontextmanager
async def forged_flood(target: Target, counters: re.Pattern[str]) -> AsyncIterator[None]:
    """Send 10,000 forgeries in rounds, beside an honest caller's cached batches. Each must be in one of `counters`."""
    realm = target.realm
    assert realm is not None
    quiet: list[float] = []
    attacked: list[float] = []
    refused, began, reads = 0, time.monotonic(), realm.key_set_reads()
    async with _flooding(target, realm) as process:
        honest = await target.connect(limit=2**20)
        for number in range(ROUNDS + 1):
            times = await _cached_seconds(honest, asyncio.ensure_future(asyncio.sleep(QUIET_SECONDS)))
            if number == 0:
                continue  # the first round fills the cache
            quiet += times
            flood = asyncio.ensure_future(_flood_round(process))
            attacked += await _cached_seconds(honest, flood)
            refused += flood.result()
        honest.hang_up()
    sent = ROUNDS * FORGERIES_IN_A_ROUND
    target.figures += [
        Figure((statistics.median(attacked) / statistics.median(quiet) - 1) * 100, "% slower batches", MAX_PERCENT),
        Figure(sent - refused, "forgeries not refused", most=0),
        Figure(sent - await _counted(target, counters), "not counted", most=0),
        Figure(
            realm.key_set_reads() - reads, "reads of the issuer's keys", (time.monotonic() - began) / RETRY_SECONDS + 1
        ),
    ]
    yield


FORGERIES = (
    Case("10,000 forged tokens of nine kinds", "", partial(forged_flood, counters=REFUSED), has_issuer=True),
    Case(
        "the same, each of them checked",
        "",
        partial(forged_flood, counters=CHECKED),
        settings=UNTHROTTLED,
        has_issuer=True,
    ),
)

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_text().split()))
