"""What breaks at the backend."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from tests.faults.purchases import UNDER_WAY, UNKNOWN
from tests.faults.scenario import Break, Scenario, Stage
from tests.faults.terms import Terms

SHARE = 0.3
KINDS = ("reads", "purchases")
HANGING_SHARE = 0.6
"""Enough for a question to hang again when it is asked again."""

HANGING_CALLERS = 24
"""Most of them wait, so that there have to be more."""

LONGEST_READ_SECONDS = 20.0
"""What the service gives a question to the backend, retries included."""

LONG_ENOUGH_SECONDS = 23.0
"""For how long the backend hangs: a question that was asked at the beginning runs into its end."""


def breaking(fault: str, share: float = SHARE) -> Break:
    """Return what lets a share of the backend's answers break in this way."""

    @asynccontextmanager
    async def broken(stage: Stage) -> AsyncIterator[None]:
        before = await _broken(stage)
        await stage.world.tell_oracle(fault=fault, share=share)
        try:
            yield
            await stage.go_on_until(partial(_both_have_met_it, stage, before))
        finally:
            await stage.world.tell_oracle(fault=None)
        after = await _broken(stage)
        for kind in KINDS:
            stage.saw(f"{kind} broken", of=after[kind] - before[kind])

    return broken


async def _both_have_met_it(stage: Stage, before: Counter[str]) -> bool:
    return len(await _broken(stage) - before) >= len(KINDS)


async def _broken(stage: Stage) -> Counter[str]:
    return Counter((await stage.world.oracle())["broken"])


def hanging(fault: str) -> Break:
    """Return what does the same, for so long that a question is given up."""

    @asynccontextmanager
    async def broken(stage: Stage) -> AsyncIterator[None]:
        async with breaking(fault, HANGING_SHARE)(stage):
            yield
        if stage.seconds >= LONG_ENOUGH_SECONDS:
            stage.saw("ids given up", of=stage.crowd.score.codes["backend_timeout"])

    return broken


@asynccontextmanager
async def putting_off(stage: Stage) -> AsyncIterator[None]:
    """Name a time after which to ask again, and see that it is kept."""
    async with breaking("429 with Retry-After")(stage):
        yield
    stage.saw("waits kept", of=(await stage.world.oracle())["waits"].get("kept", 0))


@asynccontextmanager
async def turning_away(stage: Stage) -> AsyncIterator[None]:
    """Turn the token down in the midst of a batch, so that one part of it is answered and another is not."""
    async with breaking("401")(stage):
        yield
    stage.saw("batches answered in part", of=stage.crowd.score.split_batches)


_UNUSABLE = Terms(
    reads=frozenset({"backend_error"}),
    purchases=frozenset({UNKNOWN, UNDER_WAY}),
    read_seconds=15.0,
)
"""Answers that come at once and say nothing. Retries of a read take a few seconds at the most, and a few fail."""

_ENDLESS = replace(_UNUSABLE, most_megabytes=384.0)
"""What deploy/kubernetes gives a pod. The service reads 32 answers at once at the most and gives each up at 4 MB, which
is about 250 MB with all the rest; and the memory of one may have to be found anew while it grows."""

_HANGING = Terms(
    reads=frozenset({"backend_timeout"}),
    purchases=frozenset({UNKNOWN, UNDER_WAY}),
    read_seconds=2 * LONGEST_READ_SECONDS + 5.0,
    purchase_seconds=40.0,
    grace_seconds=LONGEST_READ_SECONDS + 2.0,
)
"""A question that began just before the mend may be given up 20 s later, with whoever has joined it.

A batch is asked in two rounds at the most: the second is about what the answer to the first may have left out.
"""

_FULL = Terms(reads=frozenset({"rate_limited"}), read_seconds=15.0, purchase_seconds=25.0)
"""A purchase that is turned away waits for its place, and is taken in the end."""


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
    Scenario("Backend", "429 with Retry-After", putting_off, _FULL, seconds=4.0),
    Scenario(
        "Backend",
        "401 in the middle of a batch",
        turning_away,
        Terms(reads=frozenset({"unauthorized"}), purchases=frozenset({"unauthorized"})),
    ),
    Scenario("Backend", "items duplicated and reordered", breaking("duplicated and reordered", 1.0)),
)
