"""`make clients`: real client programs against the sandbox, each of which lists, generates, waits and makes a bad call.

Agents get a scripted model on loopback. A program that is not here is named and counted as skipped. With `--all` it is
a fault; with CI=true it is one unless it has to come from PATH, and some program of every chosen kind must have run.
"""

import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from tests.clients.agent import run_agent
from tests.clients.model.server import ScriptedModel
from tests.clients.programs import (
    claude_code,
    cline,
    codex,
    continue_cli,
    copilot_cli,
    curl,
    gemini_cli,
    inspector,
    java,
    mcp_remote,
    opencode,
    qwen_code,
    sign_in,
)
from tests.clients.world import Finished, NotHere, NotWell, World, end_what_is_left
from tests.support.process import environment, serving_process

SANDBOX_SECONDS = "2"


class Kind(Enum):
    """What a program is. All but agents are installed and tried in seconds."""

    PROTOCOL = "clients of the protocol"
    HTTP = "plain HTTP clients"
    SIGN_IN = "clients that sign in"
    AGENT = "agents"


class Outcome(Enum):
    """How the try of a program ended."""

    PASSED = "passed"
    FAILED = "failed"
    ABSENT = "skipped"


@dataclass(frozen=True, slots=True)
class Program:
    """A program and how to try it; `is_from_path` if no package of the project brings it."""

    name: str
    kind: Kind
    run: Callable[[World], object]
    is_from_path: bool = False


def agent(name: str, start: Callable[[World, ScriptedModel], Finished]) -> Program:
    """Return an agent, which is tried with the scripted model."""
    return Program(name, Kind.AGENT, partial(run_agent, start=start))


PROGRAMS = (
    Program("inspector", Kind.PROTOCOL, inspector.run),
    Program("mcp-remote", Kind.PROTOCOL, mcp_remote.run),
    Program("java", Kind.HTTP, java.run, is_from_path=True),
    Program("curl", Kind.HTTP, curl.run, is_from_path=True),
    Program("typescript-1-signs-in", Kind.SIGN_IN, sign_in.typescript_1),
    Program("typescript-2-signs-in", Kind.SIGN_IN, sign_in.typescript_2),
    Program("mcp-remote-signs-in", Kind.SIGN_IN, sign_in.mcp_remote),
    Program("fastmcp-signs-in", Kind.SIGN_IN, sign_in.fastmcp),
    Program("chromium-signs-in", Kind.SIGN_IN, sign_in.chromium, is_from_path=True),
    Program("gemini", Kind.AGENT, gemini_cli.run),
    agent("codex", codex.start),
    agent("claude", claude_code.start),
    agent("opencode", opencode.start),
    agent("copilot", copilot_cli.start),
    agent("qwen", qwen_code.start),
    agent("cline", cline.start),
    agent("continue", continue_cli.start),
)


def main() -> int:
    """Try the chosen programs and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("--only", action="append", choices=[program.name for program in PROGRAMS], help="try this one")
    parser.add_argument("--quick", action="store_true", help="only those that are installed and tried in seconds")
    parser.add_argument("--all", action="store_true", help="a program that is not here is a fault, from PATH too")
    given = parser.parse_args()
    chosen = [
        program
        for program in PROGRAMS
        if (not given.only or program.name in given.only) and (program.kind is not Kind.AGENT or not given.quick)
    ]
    outcomes = {program: tried(program) for program in chosen}
    found = faults(outcomes, in_ci=os.environ.get("CI") == "true", takes_all=given.all)
    return report(list(outcomes.values()), found)


def tried(program: Program) -> Outcome:
    """Try one program, print a line about it, and return how it ended."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="luma-mcp-client-") as home:
        folder = Path(home)
        env = environment(sandbox_seconds=SANDBOX_SECONDS)
        try:
            with serving_process("--sandbox", cwd=folder, env=env) as server:
                program.run(World(server, folder))
        except NotHere as exc:
            return said(program.name, f"NOT TRIED: {exc}", Outcome.ABSENT)
        except NotWell as exc:
            return said(program.name, f"NOT WELL: {exc}", Outcome.FAILED)
        except Exception as exc:  # noqa: BLE001 - one program that breaks must not keep the others from their turn
            return said(program.name, f"NOT WELL: {type(exc).__name__}: {exc}", Outcome.FAILED)
        finally:
            end_what_is_left(folder)
    return said(program.name, f"well, {time.monotonic() - started:.0f} s", Outcome.PASSED)


def said(name: str, words: str, outcome: Outcome) -> Outcome:
    """Print one line and return `outcome`."""
    print(f"{name:22} {words}", flush=True)  # noqa: T201 - the answer that was asked for
    return outcome


def faults(outcomes: Mapping[Program, Outcome], *, in_ci: bool, takes_all: bool) -> list[str]:
    """Return why programs that were not tried make the run a failure. Outside of CI it is one if none was tried."""
    absent = [program for program, outcome in outcomes.items() if outcome is Outcome.ABSENT]
    if not outcomes.keys() - set(absent):
        return ["no program was tried"]
    found = [f"{program.name} was not tried" for program in absent if takes_all or (in_ci and not program.is_from_path)]
    untried = {program.kind for program in absent} - {program.kind for program in outcomes.keys() - set(absent)}
    return [*found, *(f"{kind.value}: none was tried" for kind in Kind if in_ci and kind in untried)]


def report(outcomes: Sequence[Outcome], found: Sequence[str]) -> int:
    """Print the faults and the sum, and return the exit status."""
    passed, failed, skipped = (outcomes.count(outcome) for outcome in Outcome)
    for fault in found:
        print(f"FAULT: {fault}")  # noqa: T201 - the answer that was asked for
    print(f"{passed} passed, {failed + len(found)} failed, {skipped} skipped")  # noqa: T201 - likewise
    return 1 if failed or found else 0


if __name__ == "__main__":
    sys.exit(main())
