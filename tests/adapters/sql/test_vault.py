"""Secrets in the database: sealed for their context, kept through rotations, and in no dump in clear text."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.auth.key_digest import load_key_digest
from app.adapters.sql.engine import Database
from app.adapters.vault import CannotOpen, Vault, hint, seal_credentials_again
from app.domain.access import Scope
from app.domain.teams import TeamCredential
from app.ports.directory import Directory, NewKey, NotThere
from tests.support.clock import HandClock
from tests.support.databases import empty_database, opened
from tests.support.directories import ACTOR, directory_at, new_key
from tests.support.postgres_server import PostgresServer

OLD, NEW = "an older key for tests that has more than 32 bytes", "0123456789abcdef" * 3
SECRET = "platform-v1-0123456789abcdef0123456789"


@pytest.fixture
def directory(database: Database, clock: HandClock) -> Directory:
    return directory_at(database, clock)


async def add_credential(directory: Directory, vault: Vault, credential_id: str = "00000000000a") -> TeamCredential:
    team = await directory.teams.create("film", "UTC", ACTOR)
    sealed = vault.seal_credential(team.id, credential_id, "acedata", SECRET)
    new = TeamCredential(credential_id, team.id, "acedata", sealed, hint(SECRET), 0)
    return await directory.credentials.add(new, ACTOR)


async def test_a_credential_is_kept_listed_and_removed_with_its_secret(database: Database, clock: HandClock) -> None:
    vault, directory = Vault(OLD), directory_at(database, clock)
    added = await add_credential(directory, vault)
    assert added.created_at == clock()
    assert await directory.credentials.add(added, ACTOR) == added
    assert await directory.credentials.of_team(added.team_id) == [added] == await directory.credentials.in_use()
    assert vault.open_credential(added) == SECRET
    with pytest.raises(NotThere):
        await directory.credentials.remove("film", "0" * 12, ACTOR)
    removed = await directory.credentials.remove("film", added.id, ACTOR)
    assert (removed.sealed, removed.removed_at) == ("", clock())
    assert await database.run(_all_sealed) == [""]
    assert await directory.credentials.in_use() == []
    entries = await directory.audit.entries(10, after=1)
    shown = {"backend": "acedata", "hint": "…6789"}
    assert [(entry.action, entry.before, entry.after) for entry in entries] == [
        ("credential.add", None, shown),
        ("credential.remove", shown, None),
    ]


async def _all_sealed(connection: AsyncConnection) -> list[str]:
    return list((await connection.execute(text("SELECT sealed FROM team_credentials"))).scalars())


@pytest.mark.parametrize("kept", [OLD, f"{OLD}!"])
async def test_a_rotation_of_the_secret_key_keeps_keys_and_credentials(directory: Directory, kept: str) -> None:
    first = Vault(kept)
    added, digest = await add_credential(directory, first), await load_key_digest(directory.facts, first)
    both = Vault(NEW, "some other secret key of the service, 32 bytes", kept)
    assert (await load_key_digest(directory.facts, both)).of("lmk_x") == digest.of("lmk_x")
    assert await seal_credentials_again(directory.credentials, both) == []
    second = Vault(NEW)
    assert (await load_key_digest(directory.facts, second)).of("lmk_x") == digest.of("lmk_x")
    [again] = await directory.credentials.of_team(added.team_id)
    assert second.open_credential(again) == SECRET
    assert first.open_credential(again) == SECRET
    assert await seal_credentials_again(directory.credentials, second) == []
    [again] = await directory.credentials.of_team(added.team_id)
    assert second.open_credential(again) == SECRET
    with pytest.raises(CannotOpen):
        first.open_credential(again)
    with pytest.raises(CannotOpen):
        await load_key_digest(directory.facts, first)


def test_replicas_open_what_others_seal_throughout_a_rotation() -> None:
    old, both, new = Vault(OLD), Vault(NEW, OLD), Vault(NEW)
    sealed = both.seal("pepper", b"pepper")
    assert [vault.open("pepper", sealed) for vault in (old, both, new)] == [b"pepper"] * 3
    assert [vault.is_current(sealed) for vault in (old, both, new)] == [True, True, False]
    assert [vault.is_current(old.seal("pepper", b"")) for vault in (old, both, new)] == [True, False, False]
    assert Vault(OLD, NEW).is_current(sealed) is False


def test_a_pepper_under_many_secret_keys_fits_its_column() -> None:
    secrets = [f"secret key number {number} of the service" for number in range(6)]
    sealed = Vault(*secrets).seal("pepper", bytes(32))
    assert len(sealed) <= 300
    assert Vault(secrets[2]).open("pepper", sealed) == bytes(32)


async def test_a_credential_that_cannot_be_opened_is_returned_and_left(directory: Directory) -> None:
    added = await add_credential(directory, Vault(OLD))
    assert await seal_credentials_again(directory.credentials, Vault(NEW)) == [added]
    assert await directory.credentials.in_use() == [added]


async def test_a_sealed_text_is_replaced_only_if_it_is_unchanged(directory: Directory) -> None:
    added = await add_credential(directory, Vault(OLD))
    assert await directory.credentials.replace_sealed(added, "first")
    assert not await directory.credentials.replace_sealed(added, "second")


async def test_all_replicas_get_the_pepper_of_the_first(directory: Directory) -> None:
    kept = [await directory.facts.keep_pepper(pepper) for pepper in ("one", "other")]
    assert kept == ["one", "one"]
    assert await directory.facts.pepper() == "one"
    assert not await directory.facts.replace_pepper("other", "third")


@pytest.mark.parametrize("field", ["team_id", "id", "backend"])
def test_a_credential_can_be_opened_only_in_its_own_context(field: str) -> None:
    vault = Vault(OLD)
    credential = TeamCredential("id", "team", "acedata", vault.seal_credential("team", "id", "acedata", SECRET), "", 0)
    assert vault.open_credential(credential) == SECRET
    changed: Any = {field: "other"}
    with pytest.raises(CannotOpen):
        vault.open_credential(replace(credential, **changed))


def test_a_modified_text_cannot_be_opened() -> None:
    vault = Vault(OLD)
    sealed = vault.seal("pepper", b"pepper")
    for changed in ("", ".", "x", sealed[:-4], f"{sealed}AAAA", sealed.replace(".", ".é"), sealed.partition(".")[2]):
        with pytest.raises(CannotOpen):
            vault.open("pepper", changed)
    with pytest.raises(CannotOpen):
        vault.open("credential", sealed)


def test_a_vault_without_a_lasting_key_is_refused() -> None:
    with pytest.raises(ValueError, match="secret key"):
        Vault()


def test_repr_contains_no_secret() -> None:
    credential = TeamCredential("id", "team", "acedata", "sealed-text", "…6789", 0)
    assert "sealed-text" not in repr(credential)
    assert "digest-text" not in repr(NewKey("id", "digest-text", "lmk_…"))


@pytest.mark.parametrize(("secret", "shown"), [(SECRET, "…6789"), ("fifteen letters", "…"), ("", "…")])
def test_a_hint_shows_the_end_of_long_secrets_only(secret: str, shown: str) -> None:
    assert hint(secret) == shown


async def fill(database: Database, clock: HandClock) -> tuple[str, list[str]]:
    """Create, rotate and remove a key and a credential. Return the texts that dumps must not and must contain."""
    directory, vault = directory_at(database, clock), Vault(OLD)
    added = await add_credential(directory, vault)
    await directory.teams.add_member("film", "anna", ACTOR)
    digest = await load_key_digest(directory.facts, vault)
    (key, new), (next_key, following) = new_key(), new_key()
    new = NewKey(new.id, digest.of(key), new.hint)
    await directory.keys.create("film", "anna", new, ACTOR, scopes=frozenset({Scope.READ}), note="laptop")
    await directory.keys.rotate(new.id, following, 60, ACTOR)
    return added.id, [key[4:], next_key[4:], SECRET, OLD, key[:-4], SECRET[:-4]]


async def test_a_file_holds_no_key_and_no_credential(tmp_path: Path, clock: HandClock) -> None:
    async with opened(f"sqlite:///{tmp_path}/luma.db") as database:
        there, hidden = await fill(database, clock)
    with sqlite3.connect(tmp_path / "luma.db") as connection:
        dump = "\n".join(connection.iterdump()).encode()
    connection.close()
    dump += (tmp_path / "luma.db").read_bytes()
    assert there.encode() in dump
    assert [text for text in hidden if text.encode() in dump] == []


async def test_no_column_holds_a_key_or_a_credential(shared_postgres: PostgresServer, clock: HandClock) -> None:
    url = await empty_database(shared_postgres)
    async with opened(url) as database:
        there, hidden = await fill(database, clock)
    connection = await asyncpg.connect(url)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    rows = [
        row["whole"]
        for table in tables
        for row in await connection.fetch(f"SELECT t::text AS whole FROM {table['tablename']} t")  # noqa: S608
    ]
    await connection.close()
    dump = "\n".join(rows)
    assert there in dump
    assert [text for text in hidden if text in dump] == []
