"""The report of a run: Markdown tables for the terminal and docs/performance.md, and JSON and a plot in `out/`."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import psutil

from tests.benchmarks.growth import Point
from tests.benchmarks.rows import SDK_ALONE, Rate, Row
from tests.support.documents import OUT
from tests.support.service import MODERN

PACKAGES = ("mcp", "starlette", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "pydantic")


def table(rows: Sequence[Row]) -> str:
    """Return the promised and measured figures as a Markdown table."""
    lines = ["| what | measured | promised | |", "|---|---|---|---|"]
    for row in rows:
        side = "at least" if row.at_least else "at most"
        unit = f" {row.unit}" if row.unit else ""
        verdict = "holds" if row.holds else "**missed**"
        lines.append(f"| {row.name} | {row.value:.3g}{unit} | {side} {row.bound:g}{unit} | {verdict} |")
    return "\n".join(lines)


def rates_table(rates: Sequence[Rate]) -> str:
    """Return the rates of all servers in all cases as a Markdown table."""
    lines = ["| case | who | answers/s | lowest and highest round | bytes of an answer |", "|---|---|---|---|---|"]
    lines += [
        f"| {rate.case} | {rate.name} | {rate.median:,.0f} | {min(rate.rounds):,.0f} to {max(rate.rounds):,.0f} "
        f"| {rate.bytes:,} |"
        for rate in rates
    ]
    return "\n".join(lines)


def small_batch_table(rates: Sequence[Rate]) -> str:
    """Return the time of an answer about one task, split into its parts, as a Markdown table."""
    case = f"batch of 1, {MODERN}"
    taken = {rate.name: 1e6 / rate.median for rate in rates if rate.case == case}
    lines = {
        "the bare route": taken["bare"],
        f"{SDK_ALONE}, which answers with a constant": taken[SDK_ALONE],
        "what the service adds for token, limits, lookup, answer, log line and metrics": taken["service"]
        - taken[SDK_ALONE],
    }
    return "\n".join(
        ["| one answer about one task | µs |", "|---|---|", *(f"| {what} | {us:.0f} |" for what, us in lines.items())]
    )


def curve_table(what: str, points: Sequence[Point]) -> str:
    """Return one curve as a Markdown table."""
    names = list(points[0].figures)
    lines = [f"| {what} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for point in points:
        figures = [_figure(point.figures[name]) for name in names]
        lines.append(f"| {point.count:,} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def where() -> str:
    """Return a sentence with the machine and the versions of Python and packages."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Measured on {platform.system()} {platform.machine()} with {psutil.cpu_count()} cores, "
        f"Python {platform.python_version()}, {packages}."
    )


def write_results(
    rows: Sequence[Row], rates: Sequence[Rate], batch_seconds: float, curves: Mapping[str, Sequence[Point]]
) -> None:
    """Write everything measured to out/bench.json, and the curves to out/bench.png."""
    OUT.mkdir(exist_ok=True)
    measured: dict[str, Any] = {
        "where": where(),
        "rows": [asdict(row) | {"holds": row.holds} for row in rows],
        "rates": [asdict(rate) for rate in rates],
        "seconds of a core for an uncached batch": batch_seconds,
        "curves": {what: [asdict(point) for point in points] for what, points in curves.items()},
    }
    (OUT / "bench.json").write_text(json.dumps(measured, indent=2) + "\n")
    plot(curves, OUT / "bench.png")


def plot(curves: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Plot the first figure of each curve over its count."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, places = plt.subplots(2, 2, figsize=(11, 7))
    for place, (what, points) in zip(places.flat, curves.items(), strict=True):
        name = next(iter(points[0].figures))
        place.plot([point.count for point in points], [point.figures[name] for point in points], marker="o")
        place.set(xlabel=what, ylabel=name, xscale="log", ylim=(0, None))
        place.grid(visible=True, alpha=0.3)
    figure.suptitle("luma-mcp: how the cost grows, one worker on one core")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
