"""Scenarios in which the backend fails: hangs, broken bodies, wrong records, 429 and 401."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from tests.faults.purchases import UNDER_WAY, UNKNOWN
from tests.faults.scenario import Fault, Scenario, Stage
from tests.faults.terms import Terms

SHARE = 0.3
"""The share of the backend's answers that a fault breaks, by default."""

KINDS = ("reads", "purchases")
HANGING_SHARE = 0.6
"""High enough for the retry of a read to hang as well."""

HANGING_CALLERS = 24
"""More callers than usual, because most of them are waiting at any time."""

MAX_READ_SECONDS = 20.0
"""The service's deadline for a read from the backend, retries included."""

LONG_ENOUGH_SECONDS = 23.0
"""How long the backend hangs: longer than MAX_READ_SECONDS, so that reads reach their deadline."""


def breaking(fault: str, share: float = SHARE) -> Fault:
    """Return a fault that breaks a share of the backend's answers; `fault` is a key of `breaking.FAULTS`."""

    @asynccontextmanager
    async def broken(stage: Stage) -> AsyncIterator[None]:
        before = await _broken(stage)
        await stage.world.set_oracle(fault=fault, share=share)
        try:
            yield
            await stage.extend_until(partial(_broke_both_kinds, stage, before))
        finally:
            await stage.world.set_oracle(fault=None)
        after = await _broken(stage)
        for kind in KINDS:
            stage.saw(f"{kind} broken", of=after[kind] - before[kind])

    return broken


async def _broke_both_kinds(stage: Stage, before: Counter[str]) -> bool:
    return len(await _broken(stage) - before) >= len(KINDS)


async def _broken(stage: Stage) -> Counter[str]:
    return Counter((await stage.world.oracle_state())["broken"])


def hanging(fault: str) -> Fault:
    """Return a fault that makes a share of the backend's answers hang.

    It requires ids that were given up with backend_timeout, unless the fault is too short for that.
    """

    @asynccontextmanager
    async def broken(stage: Stage) -> AsyncIterator[None]:
        async with breaking(fault, HANGING_SHARE)(stage):
            yield
        if stage.seconds >= LONG_ENOUGH_SECONDS:
            stage.saw("ids given up", of=stage.crowd.score.codes["backend_timeout"])

    return broken


@asynccontextmanager
async def retry_after(stage: Stage) -> AsyncIterator[None]:
    """Answer 429 with Retry-After, and require retries that waited that long."""
    async with breaking("429 with Retry-After")(stage):
        yield
    stage.saw("waits kept", of=(await stage.world.oracle_state())["waits"].get("kept", 0))


@asynccontextmanager
async def unauthorized(stage: Stage) -> AsyncIterator[None]:
    """Answer 401 to some requests, and require batches in which only some chunks were refused."""
    async with breaking("401")(stage):
        yield
    stage.saw("batches answered in part", of=stage.crowd.score.split_batches)


_UNUSABLE = Terms(
    reads=frozenset({"backend_error"}),
    purchases=frozenset({UNKNOWN, UNDER_WAY}),
    read_seconds=15.0,
)
"""For broken answers that arrive at once. Retries of a read take a few seconds at most, and a few of them fail."""

_ENDLESS = replace(_UNUSABLE, most_megabytes=384.0)
"""Allows the memory limit of a pod in deploy/kubernetes. The service reads at most 32 answers at once and gives each up
at 4 MB, about 250 MB with everything else; a growing buffer may be copied on reallocation."""

_HANGING = Terms(
    reads=frozenset({"backend_timeout"}),
    purchases=frozenset({UNKNOWN, UNDER_WAY}),
    read_seconds=2 * MAX_READ_SECONDS + 5.0,
    purchase_seconds=40.0,
    grace_seconds=MAX_READ_SECONDS + 2.0,
)
"""A read that began just before the end of the fault may be given up 20 s later, and so may calls that joined it.

A batch takes at most two rounds of reads: the second one is for ids that are missing from the first answer.
"""

_FULL = Terms(reads=frozenset({"rate_limited"}), read_seconds=15.0, purchase_seconds=25.0)
"""A purchase that the backend answers with 429 is retried until it is accepted."""


def _hang(fault: str) -> Scenario:
    return Scenario(
        "Backend", fault, hanging(fault), _HANGING, seconds=LONG_ENOUGH_SECONDS, quiet=True, callers=HANGING_CALLERS
    )


BACKEND_SCENARIOS = (
    _hang("hang before headers"),
    _hang("hang after headers"),
    _hang("body of a byte now and then"),
    *(
        Scenario("Backend", fault, breaking(fault), _UNUSABLE)
        for fault in ("reset", "truncated body", "HTML 502", "wrong id")
    ),
    *(Scenario("Backend", fault, breaking(fault), _ENDLESS) for fault in ("never-ending body", "10 MB")),
    Scenario("Backend", "429", breaking("429"), _FULL, seconds=4.0),
    Scenario("Backend", "429 with Retry-After", retry_after, _FULL, seconds=4.0),
    Scenario(
        "Backend",
        "401 in the middle of a batch",
        unauthorized,
        Terms(reads=frozenset({"unauthorized"}), purchases=frozenset({"unauthorized"})),
    ),
    Scenario("Backend", "items duplicated and reordered", breaking("duplicated and reordered", 1.0)),
)
