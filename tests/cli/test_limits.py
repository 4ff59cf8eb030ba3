"""`luma-mcp limits`, run as operators and their scripts run it."""

from pathlib import Path

import pytest

from tests.cli.test_admin import AdminCli, filled
from tests.support.databases import NEWEST_KINDS, PostgresServers, url_of
from tests.support.process import environment
from tests.support.service import KEY


@pytest.fixture(params=NEWEST_KINDS)
async def cli(request: pytest.FixtureRequest, tmp_path: Path, postgres_servers: PostgresServers) -> AdminCli:
    url = await url_of(request.param, tmp_path, postgres_servers)
    assert url is not None
    return AdminCli(tmp_path, environment(database_url=url, secret_key=KEY))


@pytest.fixture
def on_file(tmp_path: Path) -> AdminCli:
    return AdminCli(tmp_path, environment(database_url=f"sqlite:///{tmp_path}/luma.db", secret_key=KEY))


async def test_limits_are_set_listed_and_removed(cli: AdminCli) -> None:
    key = await filled(cli)
    said = await cli.text("limits", "set", "film", "--calls-per-minute", "120", "--in-flight", "5")
    assert said == "Limits of team film: 120 calls a minute, 5 in flight.\n"
    mine = await cli.ask("limits", "set", "film", "--member", "anna", "--generations-per-hour", "20")
    unset = {"calls_per_minute": None, "in_flight": None}
    assert mine == {"team": "film", "member": "anna", "key": None, "generations_per_hour": 20} | unset
    await cli.text("limits", "set", "film", "--key", key["id"], "--calls-per-minute", "60")
    listed = await cli.ask("limits", "list", "film")
    assert [(one["member"], one["key"], one["calls_per_minute"]) for one in listed] == [
        (None, None, 120),
        ("anna", None, None),
        (None, key["id"], 60),
    ]
    table = [line.split() for line in (await cli.text("limits", "list", "film")).splitlines()]
    assert table[1:3] == [["team", "120", "-", "5"], ["member", "anna", "-", "20", "-"]]
    said = await cli.text("limits", "remove", "film", "--in-flight")
    assert said == "Limits of team film: 120 calls a minute.\n"
    assert (
        await cli.text("limits", "remove", "film", "--key", key["id"]) == f"Limits of key {key['id']} of film: none.\n"
    )
    assert len(await cli.ask("limits", "list", "film")) == 2
    actions = [entry["action"] for entry in await cli.ask("audit", "--team", "film")]
    assert actions[-5:] == ["limits.set"] * 3 + ["limits.remove"] * 2


async def test_an_unknown_name_is_refused_with_a_sentence(on_file: AdminCli) -> None:
    await filled(on_file)
    assert "no team music" in await on_file.refused("limits", "set", "music", "--in-flight", "1")
    assert "no member ben" in await on_file.refused("limits", "set", "film", "--member", "ben", "--in-flight", "1")
    assert "no key 0123" in await on_file.refused("limits", "set", "film", "--key", "0123", "--in-flight", "1")
    assert "team film" in await on_file.refused("limits", "remove", "film")
    assert "no team music" in await on_file.refused("limits", "list", "music")


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "film"),
        ("set", "film", "--calls-per-minute", "0"),
        ("set", "film", "--calls-per-minute", "-1"),
        ("set", "film", "--generations-per-hour", "1.5"),
        ("set", "film", "--in-flight", "1000001"),
        ("set", "film", "--in-flight", "1" * 5000),
        ("set", "film", "--in-flight", "٣"),
        ("set", "film", "--in-flight", "1", "--member", "anna", "--key", "0123"),
        ("remove", "film", "--in-flight", "1"),
    ],
)
async def test_a_wrong_argument_is_a_fault_of_usage(on_file: AdminCli, arguments: tuple[str, ...]) -> None:
    ended = await on_file.run("limits", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: luma-mcp")
