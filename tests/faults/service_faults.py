"""Scenarios in which the service itself fails: processes that end, clock steps, and a full disk."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil

from tests.faults.calls import Fate, Question, ask
from tests.faults.purchases import UNDER_WAY, UNKNOWN
from tests.faults.replica import Replica
from tests.faults.scenario import Scenario, Stage
from tests.faults.terms import Terms
from tests.faults.truth import mismatch_in, token_of
from tests.faults.world import Form
from tests.support.service import MODERN

IN_FLIGHT_SECONDS = 3
"""How long the calls in flight wait, and the time limit for all of them to be under way."""

IN_FLIGHT = 5
"""The number of calls in flight when a replica gets SIGTERM."""

STEPS = (3600.0, -3600.0)
"""Offsets of the replicas' wall clocks, in seconds."""

STEP_SECONDS = 1.5
NEW_WORKERS_SECONDS = 15.0
"""The time limit for new workers after some were killed."""


@asynccontextmanager
async def one_told_to_stop(stage: Stage) -> AsyncIterator[None]:
    """Stop a replica with SIGTERM while calls are in flight, and start it again."""
    await _restart_gracefully(stage, stage.world.replicas[0])
    yield


@asynccontextmanager
async def rolled_over(stage: Stage) -> AsyncIterator[None]:
    """Restart one replica after the other with SIGTERM."""
    for replica in stage.world.replicas:
        await _restart_gracefully(stage, replica)
    yield


async def _restart_gracefully(stage: Stage, replica: Replica) -> None:
    before = replica.process.pid
    tokens = [f"secret-token-{before}-{number}" for number in range(IN_FLIGHT)]
    async with asyncio.TaskGroup() as group:
        for token in tokens:
            group.create_task(_wait_for_a_task(stage, replica, token))
        await _in_flight(stage, set(tokens))
        replica.signal(signal.SIGTERM)
    status = await replica.stopped()
    seconds = await replica.start()
    stage.saw(
        f"calls in flight answered, exit status {status}, another process after {seconds:.1f} s",
        of=IN_FLIGHT if status == 0 and replica.process.pid != before else 0,
    )


async def _in_flight(stage: Stage, tokens: set[str]) -> None:
    """Wait until the backend has received a request for each token, so that every call is under way."""
    async with asyncio.timeout(IN_FLIGHT_SECONDS):
        while not tokens <= (await stage.world.oracle_state())["calls"].keys():
            await asyncio.sleep(0.02)


async def _wait_for_a_task(stage: Stage, replica: Replica, token: str) -> None:
    """Wait for a running task at a replica that is about to stop. Raises AssertionError unless the answer is right."""
    arguments = {"task_id": "r-in-flight", "wait_seconds": IN_FLIGHT_SECONDS}
    reply = await ask(stage.world.http, replica.url, Question(token, "luma_get_task", arguments, MODERN), 10)
    assert reply.fate is Fate.ANSWERED, f"a call in flight was {reply.words}"
    assert reply.error is None, f"a call in flight met {reply.error}"
    assert not (mismatch := mismatch_in(token, "r-in-flight", dict(reply.result))), mismatch


@asynccontextmanager
async def one_killed(stage: Stage) -> AsyncIterator[None]:
    """Kill a replica with SIGKILL while it handles calls, and start it again."""
    replica = stage.world.replicas[0]
    before = replica.process.pid
    replica.signal(signal.SIGKILL)
    status = await replica.stopped()
    seconds = await replica.start()
    killed = status == -signal.SIGKILL and replica.process.pid != before
    stage.saw(f"killed, and another process after {seconds:.1f} s", of=killed)
    yield


@asynccontextmanager
async def workers_killed(stage: Stage) -> AsyncIterator[None]:
    """Kill one worker of each replica, and wait until its supervisor has started another."""
    before = {replica.port: {one.pid for one in replica.workers()} for replica in stage.world.replicas}
    for replica in stage.world.replicas:
        replica.workers()[-1].kill()
    async with asyncio.timeout(NEW_WORKERS_SECONDS):
        new = [await _new_workers(replica, before[replica.port]) for replica in stage.world.replicas]
    stage.saw("new workers", of=sum(new))
    yield


async def _new_workers(replica: Replica, before: set[int]) -> int:
    """Wait until a replica has as many workers as before, new ones among them; return the number of new ones."""
    while True:
        with suppress(psutil.NoSuchProcess):
            now = {one.pid for one in replica.workers() if one.status() != psutil.STATUS_ZOMBIE}
            if len(now) == len(before) and now != before:
                return len(now - before)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def clock_steps(stage: Stage) -> AsyncIterator[None]:
    """Set the wall clocks of both replicas an hour ahead, then an hour behind, then right again."""
    try:
        for offset in STEPS:
            stage.world.set_clock(offset)
            shown = [await _age_of_a_task(stage, url) for url in stage.world.urls]
            stage.saw(f"{offset:+.0f} s seen on both", of=all(abs(age - max(0.0, 5 + offset)) < 5 for age in shown))
            await asyncio.sleep(STEP_SECONDS)
        yield
    finally:
        stage.world.set_clock(0)


async def _age_of_a_task(stage: Stage, url: str) -> float:
    """Return the age (seconds) that a replica shows for a running task, which is 5 s by the right clock."""
    question = Question(token_of(0), "luma_get_task", {"task_id": f"r-clock-{stage.random.random()}"}, MODERN)
    reply = await ask(stage.world.http, url, question, 5)
    return float(reply.result["elapsed_seconds"])


@asynccontextmanager
async def disk_full(stage: Stage) -> AsyncIterator[None]:
    """Stop the log of the second replica from growing during the fault; the first logs to /dev/full all the time.

    RLIMIT_FSIZE applies to all files of the process, so this scenario needs PostgreSQL.
    """
    replica, before = stage.world.replicas[1], await stage.world.metric("log_lines_lost")
    replica.process.rlimit(psutil.RLIMIT_FSIZE, (_length(replica.log), psutil.RLIM_INFINITY))
    length = _length(replica.log)
    try:
        yield
    finally:
        stuck = _length(replica.log) <= length
        replica.process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    stage.saw("lines lost", of=(await stage.world.metric("log_lines_lost") - before) if stuck else 0)
    async with asyncio.timeout(5):
        while _length(replica.log) <= length:
            await asyncio.sleep(0.05)
    stage.saw("the log goes on")


def _length(log: Path) -> int:
    return log.stat().st_size


RACES = 6
"""The number of calls that may be cut off because a stopping replica closes their idle connection just then."""

_STOPPED = Terms(races=RACES)
_KILLED = Terms(may_cut=True, purchases=frozenset({UNDER_WAY, UNKNOWN}))
"""Calls to a killed process are cut off. Calls with a key whose purchase it was sending wait, and may end unknown."""

SERVICE_SCENARIOS = (
    Scenario("Service", "SIGTERM of one of two", one_told_to_stop, _STOPPED, seconds=0),
    Scenario("Service", "SIGKILL of one of two", one_killed, _KILLED, seconds=0, quiet=True),
    Scenario("Service", "both restarted in turn", rolled_over, _STOPPED, seconds=0),
    Scenario(
        "Service",
        "workers that die",
        workers_killed,
        _KILLED,
        seconds=0,
        quiet=True,
        form=Form(arguments=("--workers", "2")),
    ),
    Scenario("Service", "clock steps of an hour", clock_steps, seconds=0, form=Form(clock=True)),
    Scenario("Service", "a full disk for the log", disk_full, form=Form(log="/dev/full", database="postgres")),
)
