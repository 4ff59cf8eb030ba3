"""`luma-mcp teams|credentials|members|keys|audit`, run as operators and their scripts run them."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from app.adapters.auth.key_digest import load_key_digest
from app.adapters.sql.directory import sql_directory
from app.adapters.vault import Vault
from app.domain.api_key_format import is_well_formed
from app.domain.teams import KeyHolder, KeyState
from tests.support.cli import Cli
from tests.support.databases import NEWEST_KINDS, PostgresServers, opened, url_of
from tests.support.process import COMMAND, environment, serving_process
from tests.support.service import KEY
from tests.support.teams import mistyped

NEW_KEY = "0123456789abcdef" * 3
SECRET = "platform-v1-0123456789abcdef0123456789"


@dataclass(frozen=True)
class AdminCli(Cli):
    """The command line on one database."""

    async def holder(self, key: str, *secret_keys: str) -> KeyHolder | None:
        """Return what a replica with these secret keys finds for a key."""
        async with opened(self.env["LUMA_MCP_DATABASE_URL"]) as database:
            directory = sql_directory(database)
            digest = await load_key_digest(directory.facts, Vault(*(secret_keys or (KEY,))))
            return await directory.keys.key_holder(digest.of(key))

    def under(self, secret_key: str) -> "AdminCli":
        return replace(self, env=self.env | {"LUMA_MCP_SECRET_KEY": secret_key})


@pytest.fixture(params=NEWEST_KINDS)
async def cli(request: pytest.FixtureRequest, tmp_path: Path, postgres_servers: PostgresServers) -> AdminCli:
    url = await url_of(request.param, tmp_path, postgres_servers)
    assert url is not None
    return AdminCli(tmp_path, environment(database_url=url, secret_key=KEY))


@pytest.fixture
def on_file(tmp_path: Path) -> AdminCli:
    return AdminCli(tmp_path, environment(database_url=f"sqlite:///{tmp_path}/luma.db", secret_key=KEY))


async def filled(cli: AdminCli) -> dict[str, Any]:
    """Make a team with a member, and return the member's key."""
    await cli.text("teams", "create", "film", "--timezone", "Europe/Berlin")
    await cli.text("members", "add", "film", "anna")
    key: dict[str, Any] = await cli.ask("keys", "create", "film", "anna")
    return key


async def test_a_key_is_created_for_a_script_and_works(cli: AdminCli) -> None:
    created = await filled(cli)
    assert set(created) == {"id", "key", "team", "member", "scopes", "expires_at"}
    assert is_well_formed(created["key"])
    assert (created["team"], created["member"], created["expires_at"]) == ("film", "anna", None)
    assert created["scopes"] == ["read", "generate"]
    holder = await cli.holder(created["key"])
    assert holder is not None
    assert (holder.key.id, holder.member.name, holder.team.timezone) == (created["id"], "anna", "Europe/Berlin")
    assert await cli.holder(mistyped(created["key"])) is None


async def test_a_key_has_the_scopes_expiry_and_note_that_it_was_given(cli: AdminCli) -> None:
    await filled(cli)
    said = await cli.text(
        "keys", "create", "film", "anna", "--scope", "read", "--expires", "30d", "--note", "Anna's laptop"
    )
    key = said.splitlines()[-1]
    holder = await cli.holder(key)
    assert holder is not None
    assert holder.key.expires_at == pytest.approx(holder.key.created_at + 30 * 86_400)
    [_, listed] = await cli.ask("keys", "list", "film")
    assert (listed["scopes"], listed["note"], listed["state"]) == (["read"], "Anna's laptop", "active")
    table = await cli.text("keys", "list", "film")
    assert "Anna's laptop" in table
    assert key not in table
    assert key not in json.dumps(listed)


async def test_a_key_is_blocked_unblocked_rotated_and_revoked(cli: AdminCli) -> None:
    created = await filled(cli)
    blocked = await cli.ask("keys", "block", created["id"])
    assert "blocked" in await cli.refused("keys", "rotate", created["id"])
    unblocked = await cli.ask("keys", "unblock", created["id"])
    following = await cli.ask("keys", "rotate", created["id"], "--grace", "1h")
    assert [blocked["state"], unblocked["state"]] == ["blocked", "active"]
    assert set(following) == set(created)
    old, new = await cli.holder(created["key"]), await cli.holder(following["key"])
    assert old is not None
    assert new is not None
    assert old.key.replaced_by == following["id"]
    assert old.key.expires_at == pytest.approx(new.key.created_at + 3600)
    assert [one.key.state(one.read_at) for one in (old, new)] == [KeyState.ACTIVE, KeyState.ACTIVE]
    ended = await cli.ask("keys", "rotate", following["id"], "--grace", "0")
    assert (await cli.ask("keys", "revoke", ended["id"]))["state"] == "revoked"
    states = {one["id"]: one["state"] for one in await cli.ask("keys", "list", "film")}
    assert states == {created["id"]: "active", following["id"]: "expired", ended["id"]: "revoked"}
    assert "for good" in await cli.refused("keys", "unblock", ended["id"])


async def test_teams_and_members_are_listed_shown_stopped_and_resumed(cli: AdminCli) -> None:
    created = await filled(cli)
    assert (await cli.ask("members", "add", "film", "ben"))["team"] == "film"
    await cli.text("teams", "create", "music")
    assert [team["name"] for team in await cli.ask("teams", "list")] == ["film", "music"]
    assert [member["name"] for member in await cli.ask("members", "list", "film")] == ["anna", "ben"]
    for noun, arguments in (("teams", ["film"]), ("members", ["film", "anna"])):
        for verb, is_stopped in (("stop", True), ("resume", False)):
            assert (await cli.ask(noun, verb, *arguments))["is_stopped"] is is_stopped
            holder = await cli.holder(created["key"])
            assert holder is not None
            assert holder.is_stopped is is_stopped
    await cli.text("members", "stop", "film", "anna")
    assert "stopped" in await cli.text("members", "list", "film")
    shown = await cli.ask("teams", "show", "film")
    assert [member["is_stopped"] for member in shown["members"]] == [True, False]
    assert "2 members, no credentials" in (await cli.text("teams", "show", "film")).lower()


async def test_a_key_alone_is_stopped_and_resumed(cli: AdminCli) -> None:
    created, other = await filled(cli), await cli.ask("keys", "create", "film", "anna")
    for verb, is_stopped in (("stop", True), ("resume", False)):
        assert (await cli.ask("keys", verb, created["id"]))["is_stopped"] is is_stopped
        holders = [await cli.holder(one["key"]) for one in (created, other)]
        assert [holder is not None and holder.is_stopped for holder in holders] == [is_stopped, False]
    await cli.text("teams", "stop", "film")
    assert "still stopped" in await cli.text("keys", "resume", created["id"])


async def test_teams_set_changes_only_the_named_settings(cli: AdminCli) -> None:
    created = await filled(cli)
    await cli.text("budgets", "set", "film", "--amount", "25", "--window", "day")
    [before] = await cli.ask("budgets", "list", "film")
    for arguments, name, value in (
        (["--foreign-ids", "allow"], "allows_foreign_ids", True),
        (["--members-see", "own"], "members_see_all", False),
        (["--timezone", "Asia/Tokyo"], "timezone", "Asia/Tokyo"),
        (["--asks-above", "1.19"], "asks_above", "1.19"),
        (["--asks-above", "never"], "asks_above", None),
        (["--foreign-ids", "refuse", "--members-see", "all"], "allows_foreign_ids", False),
    ):
        changed = await cli.ask("teams", "set", "film", *arguments)
        assert changed[name] == value
    assert (changed["members_see_all"], changed["timezone"]) == (True, "Asia/Tokyo")
    holder = await cli.holder(created["key"])
    assert holder is not None
    assert holder.team.timezone == "Asia/Tokyo"
    [after] = await cli.ask("budgets", "list", "film")
    assert before["renews_at"] != after["renews_at"]
    said = await cli.text("teams", "set", "film", "--members-see", "own")
    assert "their own tasks" in said
    last = (await cli.ask("audit", "--team", "film"))[-1]
    assert (last["action"], last["before"], last["after"]) == (
        "team.change",
        {"members_see_all": True},
        {"members_see_all": False},
    )


async def test_time_zones_are_known_where_the_system_has_none(on_file: AdminCli) -> None:
    without = replace(on_file, env=on_file.env | {"PYTHONTZPATH": ""})
    assert (await without.ask("teams", "create", "film", "--timezone", "Asia/Tokyo"))["timezone"] == "Asia/Tokyo"


async def test_a_credential_comes_from_standard_input_and_is_never_shown(cli: AdminCli) -> None:
    await filled(cli)
    said = [
        await cli.text("credentials", "add", "film", "--backend", "acedata", given=f"{SECRET}\n"),
        await cli.text("credentials", "list", "film"),
        await cli.text("teams", "show", "film", "--json"),
    ]
    [listed] = await cli.ask("credentials", "list", "film")
    async with opened(cli.env["LUMA_MCP_DATABASE_URL"]) as database:
        [kept] = await sql_directory(database).credentials.in_use()
    assert Vault(KEY).open_credential(kept) == SECRET
    assert listed["hint"] == "…6789"
    removed = await cli.ask("credentials", "remove", "film", listed["id"])
    assert removed["removed_at"] is not None
    assert await cli.ask("credentials", "list", "film") == []
    assert SECRET not in "".join([*said, json.dumps([listed, removed])])


@pytest.mark.parametrize("given", ["", "\n", "two words", "x" * 4001, "x" * 100_000, "schlüssel", "a\0b"])
async def test_a_malformed_credential_is_refused(on_file: AdminCli, given: str) -> None:
    await on_file.text("teams", "create", "film")
    said = await on_file.refused("credentials", "add", "film", "--backend", "acedata", given=given)
    assert "Standard input must hold the credential" in said
    assert await on_file.ask("credentials", "list", "film") == []


async def test_a_refusal_is_one_sentence_and_status_1(cli: AdminCli) -> None:
    await filled(cli)
    for arguments, sentence in {
        ("teams", "create", "film"): "There is a team film already",
        ("teams", "show", "music"): "There is no team music",
        ("teams", "stop", "music"): "There is no team music",
        ("members", "add", "film", "anna"): "has a member anna already",
        ("members", "add", "music", "anna"): "There is no team music",
        ("members", "stop", "film", "ben"): "has no member ben",
        ("keys", "create", "film", "ben"): "has no member ben",
        ("keys", "list", "music"): "There is no team music",
        ("keys", "revoke", "0123456789ab"): "There is no key with the id 0123456789ab",
        ("credentials", "remove", "film", "0123456789ab"): "has no credential 0123456789ab",
        ("audit", "--team", "music"): "There is no team music",
    }.items():
        assert sentence in await cli.refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["teams"], "required"),
        (["teams", "destroy", "film"], "invalid choice"),
        (["teams", "delete"], "--unused"),
        (["teams", "create"], "required: NAME"),
        (["teams", "create", ""], "1 to 64 visible"),
        (["teams", "create", "fi\nlm"], "1 to 64 visible"),
        (["teams", "create", "film", "--timezone", "Berlin"], "Europe/Berlin"),
        (["teams", "set", "film"], "--timezone, --foreign-ids, --members-see or --asks-above"),
        (["teams", "set", "film", "--foreign-ids", "yes"], "invalid choice"),
        (["teams", "set", "film", "--timezone", "Berlin"], "Europe/Berlin"),
        (["teams", "set", "film", "--asks-above", "much"], "never"),
        (["keys", "create", "film", "anna", "--scope", "write"], "read, generate, admin"),
        (["keys", "create", "film", "anna", "--expires", "0"], "at least"),
        (["keys", "create", "film", "anna", "--expires", "30"], "30d, 24h or 90m"),
        (["keys", "rotate", "0123456789ab", "--grace", "-1h"], "expected one argument"),
        (["credentials", "add", "film"], "--backend"),
        (["credentials", "add", "film", "--backend", "other"], "invalid choice"),
        (["credentials", "add", "film", SECRET, "--backend", "acedata"], "unrecognized"),
        (["audit", "--since", "yesterday"], "2026-11-01"),
        (["audit", "--format", "xml"], "invalid choice"),
    ],
)
async def test_a_wrong_use_is_status_2(on_file: AdminCli, arguments: list[str], words: str) -> None:
    ended = await on_file.run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr
    assert not (on_file.folder / "luma.db").exists()


async def test_the_log_of_changes_is_printed_and_exported(cli: AdminCli) -> None:
    created = await filled(cli)
    await cli.text("teams", "create", "music")
    await cli.text("credentials", "add", "film", "--backend", "acedata", given=SECRET)
    following = await cli.ask("keys", "rotate", created["id"])
    actions = ["team.create", "member.add", "key.create", "team.create", "credential.add", "key.rotate"]
    exported = [
        await cli.text("audit", "--json"),
        await cli.text("audit", "--format", "jsonl"),
        await cli.text("audit", "--format", "csv"),
        await cli.text("audit"),
    ]
    entries = json.loads(exported[0])
    assert entries == [json.loads(line) for line in exported[1].splitlines()]
    rows = list(csv.DictReader(io.StringIO(exported[2])))
    assert [entry["action"] for entry in entries] == [row["action"] for row in rows] == actions
    assert [line.split()[4] for line in exported[3].splitlines()[1:]] == actions
    assert json.loads(rows[5]["after"]) == entries[5]["after"]
    assert entries[5]["after"]["replaced_by"] == following["id"]
    assert entries[5]["after"]["expires_at"].endswith("Z")
    assert {entry["actor"].partition(":")[0] for entry in entries} == {"cli"}
    for secret in (SECRET, created["key"], following["key"], KEY):
        assert secret not in "".join(exported)


async def test_the_log_is_narrowed_by_team_and_time(cli: AdminCli) -> None:
    await filled(cli)
    await cli.text("teams", "create", "music")
    assert [entry["subject"] for entry in await cli.ask("audit", "--team", "music")] == ["music"]
    assert len(await cli.ask("audit", "--since", "2020-01-01")) == len(await cli.ask("audit", "--since", "24h")) == 4
    assert await cli.ask("audit", "--since", "2100-01-01T00:00:00+01:00") == []
    assert (await cli.text("audit", "--since", "2100-01-01", "--format", "csv")).startswith("id,at,team,")
    assert await cli.text("audit", "--since", "2100-01-01", "--format", "jsonl") == ""
    assert (await cli.text("audit", "--since", "2100-01-01")).startswith("time")


async def test_many_processes_administer_at_once(cli: AdminCli) -> None:
    await filled(cli)
    commands = [["teams", "create", f"team {number % 3}"] for number in range(6)]
    commands += [["keys", "create", "film", "anna"] for _ in range(4)]
    ended = await asyncio.gather(*(cli.run(*arguments) for arguments in commands))
    assert sorted(one.returncode for one in ended) == [0] * 7 + [1] * 3
    assert all("already" in one.stderr for one in ended if one.returncode)
    assert len(await cli.ask("keys", "list", "film")) == 5
    assert [entry["id"] for entry in await cli.ask("audit")] == list(range(1, 11))


async def test_keys_and_credentials_outlive_a_rotation_of_the_secret_key(cli: AdminCli) -> None:
    created = await filled(cli)
    rotating = cli.under(f"{NEW_KEY},{KEY}")
    second = await rotating.ask("keys", "create", "film", "anna")
    third = await cli.ask("keys", "create", "film", "anna")
    fourth = await cli.under(NEW_KEY).ask("keys", "create", "film", "anna")
    for key in (created, second, third, fourth):
        holder = await cli.holder(key["key"], NEW_KEY)
        assert holder is not None
        assert holder.key.id == key["id"]


async def test_another_secret_key_is_refused_before_anything_is_sealed(on_file: AdminCli) -> None:
    await filled(on_file)
    other = on_file.under(NEW_KEY)
    for arguments in (("keys", "create", "film", "anna"), ("credentials", "add", "film", "--backend", "acedata")):
        said = await other.refused(*arguments, given=SECRET, status=2)
        assert "another secret key. Set LUMA_MCP_SECRET_KEY" in said
    assert len(await on_file.ask("keys", "list", "film")) == 1
    assert await on_file.ask("credentials", "list", "film") == []


async def test_a_database_in_memory_is_refused(tmp_path: Path) -> None:
    for settings in ({"database_url": "sqlite:///:memory:"}, {"database_url": "", "backend": "sandbox"}):
        cli = AdminCli(tmp_path, environment(secret_key=KEY, **settings))
        assert "memory of the process that serves" in await cli.refused("teams", "list", status=2)


async def test_a_missing_secret_key_is_named(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/luma.db", "postgresql://luma:hidden@127.0.0.1:1/luma"):
        said = await AdminCli(tmp_path, environment(database_url=url)).refused("teams", "list", status=2)
        assert "LUMA_MCP_SECRET_KEY" in said
        assert "hidden" not in said
    assert not (tmp_path / "luma.db").exists()


async def test_the_settings_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "service.env"
    lines = [f"LUMA_MCP_DATABASE_URL=sqlite:///{tmp_path}/luma.db", f"LUMA_MCP_SECRET_KEY='{KEY}'"]
    await asyncio.to_thread(file.write_text, "\n".join(lines), encoding="utf-8")
    cli = AdminCli(tmp_path, environment(database_url=""))
    assert (await cli.ask("teams", "create", "film", "--env-file", "service.env"))["timezone"] == "UTC"


async def test_an_unreachable_database_is_reported_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://luma:hidden@127.0.0.1:1/luma"
    said = await AdminCli(tmp_path, environment(database_url=url, secret_key=KEY)).refused("teams", "list")
    assert "127.0.0.1/luma does not answer" in said
    assert "hidden" not in said


async def test_an_older_schema_is_refused_and_not_migrated(on_file: AdminCli) -> None:
    await asyncio.to_thread(_at_revision, f"sqlite:///{on_file.folder}/luma.db", "0002")
    for _ in range(2):
        assert "schema version 0002, of an earlier release" in await on_file.refused("teams", "list")
    await on_file.text("database", "upgrade")
    assert await on_file.ask("teams", "list") == []


def _at_revision(url: str, wanted: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "app/adapters/sql/migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, wanted)
    engine.dispose()


async def test_commands_use_the_key_file_of_a_running_service(tmp_path: Path) -> None:
    env = environment(data_dir=str(tmp_path / "data"), backend="sandbox", database_url="")
    cli = AdminCli(tmp_path, env)
    assert "start the service once" in await cli.refused("teams", "list", status=2)
    with serving_process(cwd=tmp_path, env=env) as server:
        assert server.url
        await cli.text("teams", "create", "film")
        await cli.text("members", "add", "film", "anna")
        assert is_well_formed((await cli.ask("keys", "create", "film", "anna"))["key"])


async def test_a_closed_pipe_ends_a_command_without_a_traceback(on_file: AdminCli) -> None:
    await filled(on_file)
    process = await asyncio.create_subprocess_exec(
        COMMAND, "audit", env=on_file.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - as `| head` does
    assert process.stderr is not None
    assert await process.stderr.read() == b""
    assert await process.wait() == 0


def test_administration_loads_neither_the_server_nor_a_client_of_http() -> None:
    """A command of an administrator starts in a third of the time that the server takes."""
    look = "import sys, app.cli.admin.opening; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout.split()
    assert not {"mcp", "httpx", "redis", "starlette", "uvicorn"} & set(loaded)
