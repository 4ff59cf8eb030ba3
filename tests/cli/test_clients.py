"""`luma-mcp clients`: an operator registers a client, which then signs people in."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.acedata_login import FakeAceData, fake_acedata
from tests.support.clock import HandClock
from tests.support.oauth import LOCAL_REDIRECT, SignInFleet, sign_in_fleet
from tests.support.process import environment, run
from tests.support.service import KEY


@pytest.fixture
async def acedata() -> AsyncIterator[FakeAceData]:
    async with fake_acedata() as fake:
        yield fake


@pytest.fixture
async def fleet(clock: HandClock, acedata: FakeAceData, database_url: str) -> AsyncIterator[SignInFleet]:
    async with sign_in_fleet(clock, acedata, database_url=database_url) as lent:
        yield lent


async def ask(folder: Path, url: str, *arguments: str) -> Any:
    env = environment(database_url=url, secret_key=KEY)
    ended = await asyncio.to_thread(run, "clients", *arguments, "--json", cwd=folder, env=env)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


async def test_a_client_of_the_operator_signs_people_in_until_it_is_removed(
    fleet: SignInFleet, tmp_path: Path, database_url: str
) -> None:
    made = await ask(tmp_path, database_url, "create", "Studio", "--redirect", LOCAL_REDIRECT, "--secret")
    client = fleet.client(client_id=made["id"], extra={"client_secret": made["client_secret"]})
    tokens = await client.connect(await fleet.browser())
    assert await fleet.status(tokens["access_token"]) == 200
    [listed] = await ask(tmp_path, database_url, "list")
    assert (listed["name"], listed["redirect_uris"]) == ("Studio", [LOCAL_REDIRECT])
    assert made["client_secret"] not in str(listed)
    await ask(tmp_path, database_url, "remove", made["id"])
    assert await ask(tmp_path, database_url, "list") == []
    assert (await client.refresh(tokens["refresh_token"])).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("create", "Studio", "--redirect", "javascript:alert(1)"), 2),
        (("create", "Studio"), 2),
        (("remove", "lmc_unknown"), 1),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, arguments: tuple[str, ...], status: int) -> None:
    env = environment(database_url=f"sqlite:///{tmp_path}/luma.db", secret_key=KEY)
    ended = run("clients", *arguments, cwd=tmp_path, env=env)
    assert (ended.returncode, ended.stdout) == (status, "")
