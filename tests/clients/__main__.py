"""`make clients`: real client programs against the sandbox, each of which lists, generates, waits and makes a bad call.

Agents get a scripted model on loopback. A program that this machine cannot install is reported, and is a fault only
with `--all`.
"""

import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Program:
    """A program and how to try it; `is_quick` if it is installed and tried in seconds."""

    name: str
    run: Callable[[World], object]
    is_quick: bool = False


def agent(name: str, start: Callable[[World, ScriptedModel], Finished]) -> Program:
    """Return an agent, which is tried with the scripted model."""
    return Program(name, partial(run_agent, start=start))


PROGRAMS = (
    Program("inspector", inspector.run, is_quick=True),
    Program("java", java.run, is_quick=True),
    Program("curl", curl.run, is_quick=True),
    Program("mcp-remote", mcp_remote.run, is_quick=True),
    Program("typescript-1-signs-in", sign_in.typescript_1, is_quick=True),
    Program("typescript-2-signs-in", sign_in.typescript_2, is_quick=True),
    Program("mcp-remote-signs-in", sign_in.mcp_remote, is_quick=True),
    Program("fastmcp-signs-in", sign_in.fastmcp, is_quick=True),
    Program("chromium-signs-in", sign_in.chromium, is_quick=True),
    Program("gemini", gemini_cli.run),
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
    parser.add_argument("--all", action="store_true", help="a program that is not here is a fault")
    given = parser.parse_args()
    chosen = [
        program
        for program in PROGRAMS
        if (not given.only or program.name in given.only) and (program.is_quick or not given.quick)
    ]
    return report([tried(program, is_fault_if_absent=given.all) for program in chosen])


def tried(program: Program, *, is_fault_if_absent: bool) -> bool:
    """Try one program, print a line about it, and return whether it was no fault."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="luma-mcp-client-") as home:
        folder = Path(home)
        env = environment(sandbox_seconds=SANDBOX_SECONDS)
        try:
            with serving_process("--sandbox", cwd=folder, env=env) as server:
                program.run(World(server, folder))
        except NotHere as exc:
            return said(program.name, f"not here: {exc}", well=not is_fault_if_absent)
        except NotWell as exc:
            return said(program.name, f"NOT WELL: {exc}", well=False)
        except Exception as exc:  # noqa: BLE001 - one program that breaks must not keep the others from their turn
            return said(program.name, f"NOT WELL: {type(exc).__name__}: {exc}", well=False)
        finally:
            end_what_is_left(folder)
    return said(program.name, f"well, {time.monotonic() - started:.0f} s", well=True)


def said(name: str, words: str, *, well: bool) -> bool:
    """Print one line and return `well`."""
    print(f"{name:22} {words}", flush=True)  # noqa: T201 - the answer that was asked for
    return well


def report(outcomes: Sequence[bool]) -> int:
    """Print the sum and return the exit status."""
    passed = sum(outcomes)
    print(f"{passed} passed, {len(outcomes) - passed} failed")  # noqa: T201 - the answer that was asked for
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
