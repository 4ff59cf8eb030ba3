"""The documents tell the truth: their tables are generated, their commands work, their links lead somewhere."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app.cli.describe import generated_parts, refreshed
from tests.support.process import environment, serving_process

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "SECURITY.md", "CHANGELOG.md", "docs/clients.md")


def test_the_generated_parts_of_the_readme_are_what_the_code_says() -> None:
    assert refreshed(README) == README, "run `make readme`"


def test_a_readme_without_a_part_is_told_which() -> None:
    with pytest.raises(ValueError, match="curl"):
        refreshed("# nothing")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_to_files_lead_to_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in targets if not ((ROOT / name).parent / target).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_within_a_document_lead_to_headings(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    headings = {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines()}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_the_clients_that_were_tried_are_those_that_are_installed() -> None:
    document = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    tried = set(re.findall(r"^\|[^|]+\| ([0-9.]+) \|", document, re.MULTILINE))
    packages = (ROOT / "tests" / "clients" / "packages").glob("*/package.json")
    pinned = {version for path in packages for version in json.loads(path.read_text())["dependencies"].values()}
    assert tried == pinned


def test_the_readme_says_of_the_fault_runs_what_their_table_says() -> None:
    rows = _rows_of("reliability.md", "faults")
    lost, wrong, bought_twice = (sum(int(row[column]) for row in rows) for column in (3, 4, 5))
    assert (
        f"{len(rows)} ways of breaking Redis, the backend and the service under load; {lost} calls lost, "
        f"{wrong} untrue or foreign answers, {bought_twice} videos bought twice"
    ) in README


def test_the_readme_says_of_the_speed_what_its_table_says() -> None:
    measured = {row[0]: float(row[1].split()[0]) for row in _rows_of("performance.md", "table")}
    assert "is answered at half the rate of a bare route" in README
    assert measured["cached batch of 50, 2026-07-28, to the bare route"] >= 0.5
    assert "more than three times that of fastmcp" in README
    assert measured["cached batch of 50, 2026-07-28, to fastmcp"] > 3


def _rows_of(document: str, part: str) -> list[list[str]]:
    """Return the cells of a table that a run wrote."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    table = text.partition(f"<!-- {part} -->\n")[2].partition("\n<!-- end -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_first_curl_of_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    command = re.search(r"```bash\n(curl .*?)\n```", README, re.DOTALL)
    assert command is not None
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        words = shlex.split(command[1].replace("\\\n", "").replace("http://127.0.0.1:8000", server.url))
        answered = subprocess.run(words, capture_output=True, check=True, text=True, timeout=30)
    assert json.loads(answered.stdout)["result"]["structuredContent"]["result"]["state"] == "pending"


def test_the_python_of_the_readme_makes_two_videos_as_it_stands(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)\n```", README, re.DOTALL)
    assert code is not None
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        program = code[1].replace("http://127.0.0.1:8000", server.url)
        command = [sys.executable, "-c", program]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["completed", "completed"]


def test_the_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_generated_part_says_something() -> None:
    assert all(len(text) > 100 for text in generated_parts().values())
