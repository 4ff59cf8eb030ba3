# ruff: noqa: T201 - a report
"""`python -m tests.benchmarks`: measure and print the tables; exit 1 if a promised figure is missed."""

import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from tests.benchmarks import report
from tests.benchmarks.growth import curves
from tests.benchmarks.loads import HERE
from tests.benchmarks.only_redis import latencies
from tests.benchmarks.other_tokens import shares_of_passthrough
from tests.benchmarks.processes import cores
from tests.benchmarks.rows import PROMISED, PROMISED_FROM_REDIS, Bench, Rate, Row, redis_case_name
from tests.benchmarks.sizing import sizing_table
from tests.support.documents import FOLDER, OUT, update
from tests.support.npm import install
from tests.support.service import MODERN

DOCUMENT = FOLDER / "performance.md"
MIN_CORES = 2
SIGNED_IN_ROUNDS = 18
T = TypeVar("T")


def main() -> int:
    """Return the exit status."""
    parser = ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison; the median counts")
    parser.add_argument("--update", action="store_true", help="write the figures into docs/performance.md")
    parser.add_argument("--redis", action="store_true", help="measure only the promises about answers from Redis")
    chosen = parser.parse_args()
    install(HERE, "autocannon")
    started, free = time.monotonic(), cores()
    pinned = len(free) >= MIN_CORES
    core, others = ([free[-1]], free[:-1]) if pinned else ([], [])
    if pinned:
        os.sched_setaffinity(0, others)  # this process, and with it Redis and the load
    with ExitStack() as stack:
        bench = Bench(stack, core=core, others=others, rounds=chosen.rounds)
        rates = _timed("rates of all in turn", bench.rates)
        if chosen.redis:
            rows = [*_of_rates(rates), *_timed("latency out of Redis", partial(latencies, bench))]
            print(f"{report.rates_table(rates)}\n\n{report.table(rows)}")
            return 0 if all(row.holds for row in rows) else 1
        rows = [*_of_rates(rates), *_of_others(bench)]
        print(report.where())
        print(
            f"\n{report.rates_table(rates)}\n\n{report.small_batch_table(rates)}\n\n{report.table(rows)}\n", flush=True
        )
        batch_seconds = _timed("uncached batches", bench.uncached_batch)
        grown = curves(bench, _timed)
    for what, points in grown.items():
        print(f"{report.curve_table(what, points)}\n")
    print(f"{sizing_table(batch_seconds, grown)}\n")
    report.write_results(rows, rates, batch_seconds, grown)
    if chosen.update:
        parts = {"where": report.where(), "table": report.table(rows), "rates": report.rates_table(rates)}
        parts["small batch"] = report.small_batch_table(rates)
        tables = {what: report.curve_table(what, points) for what, points in grown.items()}
        update(DOCUMENT, {**parts, **tables, "sizing": sizing_table(batch_seconds, grown)})
        (FOLDER / "performance.png").write_bytes((OUT / "bench.png").read_bytes())
    print(f"{time.monotonic() - started:.0f} s; everything measured is in out/bench.json, the curves in out/bench.png")
    return 0 if all(row.holds for row in rows) else 1


def _timed(what: str, measure: Callable[[], T]) -> T:
    """Return the result of `measure`, and print how long it took to standard error."""
    started = time.monotonic()
    measured = measure()
    print(f"{what}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return measured


def _of_rates(rates: list[Rate]) -> list[Row]:
    found = {(rate.name, rate.case): rate.median for rate in rates}
    rows = []
    for (count, era), bound in PROMISED.items():
        case = f"batch of {count}, {era}"
        rows.append(Row(f"cached {case}, to the bare route", found["service", case] / found["bare", case], "", bound))
    for era, bound in PROMISED_FROM_REDIS.items():
        rate = found["service", redis_case_name(era)] / found["bare", f"batch of 50, {era}"]
        rows.append(Row(f"cached {redis_case_name(era)}, to the bare route", rate, "", bound))
    case = f"batch of 50, {MODERN}"
    for name, bound in (("fastmcp", 3.0), ("SDK's way", 1.0)):
        rows.append(Row(f"cached {case}, to {name}", found["service", case] / found[name, case], "times", bound))
    return rows


def _of_others(bench: Bench) -> list[Row]:
    warm, cold = _timed("no cache", bench.against_no_cache)
    added = _timed("uncached reads", bench.added_latency)
    one, two = _timed("two workers", bench.workers)
    out_of_redis = _timed("latency out of Redis", partial(latencies, bench))
    connections = _timed("connections", bench.connections)
    shares = _timed("other tokens", partial(shares_of_passthrough, bench, SIGNED_IN_ROUNDS))
    idle, samples = _timed("memory over 200,000 mixed calls", bench.memory)
    return [
        Row("p50 of a cached batch of 50, to no cache with a 100 ms backend", warm / cold, "", 0.05, at_least=False),
        Row("p50 that an uncached read adds to the backend's own", added, "ms", 2.0, at_least=False),
        Row("two workers, to one, by answers per second of processor time", 2 * two / one, "times", 1.7),
        *out_of_redis,
        Row(
            "cached batch of 50 under an access token of sign-in, to a passthrough token", shares.access_token, "", 0.95
        ),
        Row("cached batch of 50 under a team key, to a passthrough token", shares.team_key, "", 0.95),
        Row("connections for 500 uncached reads, 16 at once", connections, "", 16, at_least=False),
        Row("resident memory, idle", idle, "MB", 110.0, at_least=False),
        Row("more after 200,000 mixed calls", max(samples) - idle, "MB", 25.0, at_least=False),
        Row("growth over the last half of them", samples[-1] - samples[4], "MB", 1.0, at_least=False),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
