"""The commands of docs/teams.md work as they stand, from the first to the last."""

import asyncio
import json
import re
import shlex
from pathlib import Path

from tests.support.process import environment, run
from tests.support.service import KEY

DOCUMENT = (Path(__file__).parents[2] / "docs" / "teams.md").read_text(encoding="utf-8")
EXAMPLE_ID = "0123456789ab"


async def test_the_commands_of_the_document_work_in_their_order(tmp_path: Path) -> None:
    env = environment(database_url=f"sqlite:///{tmp_path}/luma.db", secret_key=KEY)

    async def done(written: str) -> str:
        words, _, file = written.partition(" < ")
        given = "a-token-for-tests" if file else ""
        ended = await asyncio.to_thread(run, *shlex.split(words)[1:], cwd=tmp_path, env=env, given=given)
        assert (ended.returncode, ended.stderr) == (0, ""), written
        return ended.stdout

    steps = re.findall(r"^   (luma-mcp .+)$", DOCUMENT, re.MULTILINE)
    rows = [re.findall(r"`(luma-mcp [^`]+)`", line) for line in DOCUMENT.splitlines() if line.startswith("| ")]
    assert (len(steps), sum(map(len, rows))) == (15, 13)
    for step in steps:
        await done(step)
    for row in rows:
        noun = "credentials add film --backend acedata --json < token.txt" if "credentials" in str(row) else ""
        made = json.loads(await done(f"luma-mcp {noun or 'keys create film anna --json'}"))
        for command in row:
            await done(command.replace(EXAMPLE_ID, made["id"]))
