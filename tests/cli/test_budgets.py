"""`luma-mcp budgets|usage`, run as operators and their scripts run them."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from app.adapters.sql.ledger import reserve, take
from app.domain.budget import Charge, Spender
from tests.cli.test_admin import AdminCli, filled
from tests.support.databases import NEWEST_KINDS, PostgresServers, opened, url_of
from tests.support.process import environment
from tests.support.service import KEY
from tests.support.spending import priced


@pytest.fixture(params=NEWEST_KINDS)
async def cli(request: pytest.FixtureRequest, tmp_path: Path, postgres_servers: PostgresServers) -> AdminCli:
    url = await url_of(request.param, tmp_path, postgres_servers)
    assert url is not None
    return AdminCli(tmp_path, environment(database_url=url, secret_key=KEY))


@pytest.fixture
async def on_file(tmp_path: Path) -> AdminCli:
    return AdminCli(tmp_path, environment(database_url=f"sqlite:///{tmp_path}/luma.db", secret_key=KEY))


async def buy(cli: AdminCli, key: dict[str, Any], *, is_taken: bool) -> None:
    """Buy for a credit with a key, as the service would."""
    holder = await cli.holder(key["key"])
    assert holder is not None
    spender, attempt = Spender(holder.team.id, holder.member.id, holder.key.id), secrets.token_hex(16)
    async with opened(cli.env["LUMA_MCP_DATABASE_URL"]) as database:
        await database.run_in_transaction(lambda connection: reserve(connection, attempt, Charge(spender, priced(1))))
        if is_taken:
            await database.run_in_transaction(lambda connection: take(connection, attempt))


async def test_a_budget_is_set_raised_listed_and_removed(cli: AdminCli) -> None:
    key = await filled(cli)
    said = await cli.text("budgets", "set", "film", "--amount", "25", "--window", "day")
    assert said == "Set the day budget of team film: 25 credits, 25 credits left.\n"
    mine = await cli.ask(
        "budgets", "set", "film", "--member", "anna", "--amount", "1.19", "--window", "month", "--soft"
    )
    assert (mine["member"], mine["key"], mine["amount"], mine["is_soft"]) == ("anna", None, "1.19", True)
    await cli.text("budgets", "set", "film", "--key", key["id"], "--amount", "2", "--window", "week")
    said = await cli.text("budgets", "raise", "film", "--by", "10", "--until", "2999-12-30")
    assert said == "Raised the day budget of team film up to the end of 2999-12-30: 35 credits, 35 credits left.\n"
    await buy(cli, key, is_taken=True)
    await buy(cli, key, is_taken=False)
    listed = await cli.ask("budgets", "list", "film")
    shown = [(one["member"], one["key"], one["window"], one["limit"], one["left"]) for one in listed]
    assert shown == [
        (None, None, "day", "35", "33"),
        ("anna", None, "month", "1.19", "-0.81"),
        (None, key["id"], "week", "2", "0"),
    ]
    assert (listed[0]["amount"], listed[0]["raised_by"], listed[0]["raised_until"]) == (
        "25",
        "10",
        "2999-12-30T23:00:00Z",
    )
    assert {(one["spent"], one["reserved"], one["unit"]) for one in listed} == {("1", "1", "credits")}
    removed = await cli.text("budgets", "remove", "film", "--key", key["id"])
    assert removed.startswith(f"Removed the week budget of key {key['id']} of team film: 2 credits")
    assert len((await cli.text("budgets", "list", "film")).splitlines()) == 3


async def test_usage_is_printed_for_people_and_for_programs(cli: AdminCli) -> None:
    key = await filled(cli)
    await cli.text("budgets", "set", "film", "--amount", "5", "--window", "month")
    await buy(cli, key, is_taken=True)
    await buy(cli, key, is_taken=False)
    usage = await cli.ask("usage", "film")
    assert set(usage) == {"team", "since", "by", "usage", "budgets", "unsettled"}
    total = {"unit": "credits", "generations": 2, "spent": "1", "reserved": "1"}
    assert (usage["by"], usage["usage"], usage["unsettled"]) == (None, [total], [])
    assert [(one["limit"], one["left"]) for one in usage["budgets"]] == [("5", "3")]
    by_member = await cli.ask("usage", "film", "--by", "member", "--since", "2026-01-01")
    assert (by_member["since"], by_member["usage"]) == ("2026-01-01", [{"member": "anna"} | total])
    assert (await cli.ask("usage", "film", "--by", "key"))["usage"] == [{"key": key["id"]} | total]
    [today] = (await cli.ask("usage", "film", "--by", "day"))["usage"]
    assert today == {"day": today["day"]} | total
    table = await cli.text("usage", "film", "--by", "member")
    assert [line.split() for line in table.splitlines()[:2]] == [
        ["member", "generations", "spent", "reserved", "unit"],
        ["anna", "2", "1", "1", "credits"],
    ]


async def test_budgets_are_audited_without_the_secret_of_their_alerts(on_file: AdminCli) -> None:
    await filled(on_file)
    hook = "https://hooks.example.org/services/a-secret"
    said = await on_file.text("budgets", "set", "film", "--amount", "5", "--window", "day", "--alert-url", hook)
    listed = await on_file.text("budgets", "list", "film", "--json")
    log = await on_file.ask("audit", "--team", "film")
    [entry] = [entry for entry in log if entry["action"] == "budget.set"]
    assert (entry["subject"], entry["amount"], entry["unit"]) == ("day of team film", "5", "credits")
    assert entry["after"]["alert_host"] == "hooks.example.org"
    assert "a-secret" not in said + listed + str(log)


async def test_an_unknown_name_is_refused_with_a_sentence(on_file: AdminCli) -> None:
    await filled(on_file)
    amount = ("--amount", "5", "--window", "day")
    assert "no team music" in await on_file.refused("budgets", "set", "music", *amount)
    assert "no member ben" in await on_file.refused("budgets", "set", "film", "--member", "ben", *amount)
    assert "no key 0123" in await on_file.refused("budgets", "set", "film", "--key", "0123", *amount)
    assert "no such budget of team film" in await on_file.refused("budgets", "remove", "film")
    assert "no team music" in await on_file.refused("usage", "music")
    await on_file.text("budgets", "set", "film", *amount)
    await on_file.text("budgets", "set", "film", "--amount", "9", "--window", "week")
    assert "Name the window" in await on_file.refused("budgets", "raise", "film", "--by", "1", "--until", "2999-01-01")
    late = ("--by", "1", "--until", "2026-01-01", "--window", "day")
    assert "ended already" in await on_file.refused("budgets", "raise", "film", *late)


@pytest.mark.parametrize(
    "arguments",
    [
        ("budgets", "set", "film", "--window", "day"),
        ("budgets", "set", "film", "--amount", "5"),
        ("budgets", "set", "film", "--amount", "5", "--window", "year"),
        ("budgets", "set", "film", "--amount", "1e3", "--window", "day"),
        ("budgets", "set", "film", "--amount", "-5", "--window", "day"),
        ("budgets", "set", "film", "--amount", "5", "--window", "day", "--member", "anna", "--key", "0123"),
        ("budgets", "set", "film", "--amount", "5", "--window", "day", "--alert-url", "ftp://host/"),
        ("budgets", "set", "film", "--amount", "5", "--window", "day", "--alert-url", "https:///path"),
        ("budgets", "raise", "film", "--by", "0", "--until", "2999-01-01"),
        ("budgets", "raise", "film", "--by", "1", "--until", "tomorrow"),
        ("usage", "film", "--by", "week"),
        ("usage", "film", "--since", "9999-12-31"),
    ],
)
async def test_a_wrong_argument_is_a_fault_of_usage(on_file: AdminCli, arguments: tuple[str, ...]) -> None:
    ended = await on_file.run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: luma-mcp")
