"""The documents are correct: generated tables are current, commands work, and links have targets."""

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
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("name", generated_parts())
def test_the_generated_parts_of_the_documents_are_what_the_code_says(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert refreshed(text, generated_parts()[name]) == text, "run `make readme`"


def test_a_document_without_a_place_for_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="curl"):
        refreshed("# nothing", {"curl": "text"})


def test_no_cell_of_a_generated_table_breaks_its_row() -> None:
    tables = [part for parts in generated_parts().values() for part in parts.values() if part.startswith("|")]
    assert tables
    assert all(line.startswith("|") and line.endswith("|") for table in tables for line in table.splitlines())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_to_files_lead_to_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in targets if not ((ROOT / name).parent / target).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_to_headings_lead_to_headings(name: str) -> None:
    document = ROOT / name
    for file, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text(encoding="utf-8")):
        assert heading in _headings(document.parent / file if file else document), f"{file}#{heading}"


def _headings(document: Path) -> set[str]:
    lines = [line for line in document.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in lines}


def test_the_clients_that_were_tried_are_those_that_are_installed() -> None:
    document = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    tried = set(re.findall(r"^\|[^|]+\| ([0-9.]+) \|", document, re.MULTILINE))
    packages = (ROOT / "tests" / "clients" / "packages").glob("*/package.json")
    pinned = {version for path in packages for version in json.loads(path.read_text())["dependencies"].values()}
    assert tried == pinned


def test_the_first_curl_of_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    command = re.search(r"```bash\n(curl .*?)\n```", README, re.DOTALL)
    assert command is not None
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as server:
        words = shlex.split(command[1].replace("\\\n", "").replace("http://127.0.0.1:8000", server.url))
        answered = subprocess.run(words, capture_output=True, check=True, text=True, timeout=30)
    assert json.loads(answered.stdout)["result"]["structuredContent"]["result"]["state"] == "pending"


def test_the_python_of_the_documents_makes_two_videos_as_it_stands(tmp_path: Path) -> None:
    clients = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(import asyncio.*?)\n```", clients, re.DOTALL)
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
    assert all(len(part) > 100 for parts in generated_parts().values() for part in parts.values())


@pytest.mark.parametrize(
    ("document", "setting"),
    [
        ("clients.md", "client_session_timeout_seconds"),  # openai-agents
        ("clients.md", "timeout_seconds"),  # Agno
        ("clients.md", "StreamableHTTPClientParams"),  # Agno
        ("clients.md", "invocation_timeout"),  # Haystack
        ("redis.md", "ssl_ca_certs="),
        ("redis.md", "protocol="),
    ],
)
def test_the_documents_name_the_setting_that_cures_a_fault(document: str, setting: str) -> None:
    assert setting in (ROOT / "docs" / document).read_text(encoding="utf-8")
