"""What breaks at the service: its processes, their clocks and their disks."""

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
from tests.faults.truth import token_of, untruth_in
from tests.faults.world import Form
from tests.support.service import MODERN

IN_FLIGHT_SECONDS = 3
IN_FLIGHT = 5
STEPS = (3600.0, -3600.0)
STEP_SECONDS = 1.5
NEW_WORKERS_SECONDS = 15.0


@asynccontextmanager
async def one_told_to_stop(stage: Stage) -> AsyncIterator[None]:
    """Stop a replica as an orchestrator does, with calls in flight, and start it anew."""
    await _restart_well(stage, stage.world.replicas[0])
    yield


@asynccontextmanager
async def rolled_over(stage: Stage) -> AsyncIterator[None]:
    """Stop and start one replica after the other."""
    for replica in stage.world.replicas:
        await _restart_well(stage, replica)
    yield


async def _restart_well(stage: Stage, replica: Replica) -> None:
    before = replica.process.pid
    tokens = [f"secret-token-{before}-{number}" for number in range(IN_FLIGHT)]
    async with asyncio.TaskGroup() as group:
        for token in tokens:
            group.create_task(_wait_for_a_task(stage, replica, token))
        await _in_flight(stage, set(tokens))
        replica.signal(signal.SIGTERM)
    status = await replica.stopped()
    await replica.start()
    stage.saw(
        f"calls in flight answered, exit status {status}, another process",
        of=IN_FLIGHT if status == 0 and replica.process.pid != before else 0,
    )


async def _in_flight(stage: Stage, tokens: set[str]) -> None:
    """Wait until the backend has been asked on behalf of each of the calls, and so each is under way."""
    async with asyncio.timeout(IN_FLIGHT_SECONDS):
        while not tokens <= (await stage.world.oracle())["calls"].keys():
            await asyncio.sleep(0.02)


async def _wait_for_a_task(stage: Stage, replica: Replica, token: str) -> None:
    """Ask a replica that is about to stop. Raises AssertionError where the answer is cut off or untrue."""
    arguments = {"task_id": "r-in-flight", "wait_seconds": IN_FLIGHT_SECONDS}
    reply = await ask(stage.world.http, replica.url, Question(token, "luma_get_task", arguments, MODERN), 10)
    assert reply.fate is Fate.ANSWERED, f"a call in flight was {reply.words}"
    assert reply.error is None, f"a call in flight met {reply.error}"
    assert not (untruth := untruth_in(token, "r-in-flight", dict(reply.result))), untruth


@asynccontextmanager
async def one_killed(stage: Stage) -> AsyncIterator[None]:
    """Kill a replica with whatever it has in hand, and start it anew."""
    replica = stage.world.replicas[0]
    before = replica.process.pid
    replica.signal(signal.SIGKILL)
    status = await replica.stopped()
    await replica.start()
    killed = status == -signal.SIGKILL and replica.process.pid != before
    stage.saw("killed, and another process in its place", of=killed)
    yield


@asynccontextmanager
async def workers_killed(stage: Stage) -> AsyncIterator[None]:
    """Kill a worker of each replica; its supervisor starts another."""
    before = {replica.port: {one.pid for one in replica.workers()} for replica in stage.world.replicas}
    for replica in stage.world.replicas:
        replica.workers()[-1].kill()
    async with asyncio.timeout(NEW_WORKERS_SECONDS):
        new = [await _new_workers(replica, before[replica.port]) for replica in stage.world.replicas]
    stage.saw("new workers", of=sum(new))
    yield


async def _new_workers(replica: Replica, before: set[int]) -> int:
    """Wait until a replica has as many workers as before, and return how many of them are new."""
    while True:
        with suppress(psutil.NoSuchProcess):
            now = {one.pid for one in replica.workers() if one.status() != psutil.STATUS_ZOMBIE}
            if len(now) == len(before) and now != before:
                return len(now - before)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def clock_steps(stage: Stage) -> AsyncIterator[None]:
    """Set the wall clock of both replicas an hour forward, then two back, then right."""
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
    """Return how long a task of 5 s has been running by the wall clock of a replica."""
    question = Question(token_of(0), "luma_get_task", {"task_id": f"r-clock-{stage.random.random()}"}, MODERN)
    reply = await ask(stage.world.http, url, question, 5)
    return float(reply.result["elapsed_seconds"])


@asynccontextmanager
async def disk_full(stage: Stage) -> AsyncIterator[None]:
    """Let the log of the second replica grow no further for a while; the first logs to a full device all the time.

    The limit is one of the process, for all of its files: so the database is elsewhere.
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
"""Calls that may meet a connection which a stopping replica is closing, as they do before any load balancer."""

_STOPPED = Terms(races=RACES, recovery_seconds=15.0)
_KILLED = Terms(may_cut=True, purchases=frozenset({UNDER_WAY, UNKNOWN}), recovery_seconds=10.0)
"""What a killed process had in hand is cut off; a key it held is waited for, and then nobody can tell."""

SERVICE_SCENARIOS = (
    Scenario("Service", "SIGTERM of one of two", one_told_to_stop, _STOPPED, seconds=0, at_once=True),
    Scenario("Service", "SIGKILL of one of two", one_killed, _KILLED, seconds=0, at_once=True, quiet=True),
    Scenario("Service", "both restarted in turn", rolled_over, _STOPPED, seconds=0, at_once=True),
    Scenario(
        "Service",
        "workers that die",
        workers_killed,
        _KILLED,
        seconds=0,
        at_once=True,
        quiet=True,
        form=Form(arguments=("--workers", "2")),
    ),
    Scenario("Service", "clock steps of an hour", clock_steps, seconds=0, form=Form(clock=True)),
    Scenario("Service", "a full disk for the log", disk_full, form=Form(log="/dev/full", database="postgres")),
)
