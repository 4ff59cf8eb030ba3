"""Floods of the pages and forms of sign-in: limits by address, and places at the database and at the login."""

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from app.adapters.sql.engine import CONNECTIONS
from app.services.sign_in.login_places import MAX_WAITING, PLACES
from tests.support.acedata_login import FakeAceData
from tests.support.clock import HandClock
from tests.support.issuer import Realm
from tests.support.oauth import Browser, SignInFleet, sign_in_fleet
from tests.support.service import plain_client
from tests.support.teams import teams_in

FORMS, FAILED_RETURNS = 120, 20
"""Limits for one address in a minute."""

_TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Stranger:
    """Somebody with one browser, who begins logins from any address and returns from them with made-up codes."""

    def __init__(self, fleet: SignInFleet, http: httpx.AsyncClient) -> None:
        self.fleet, self._http = fleet, http
        self._token = ""

    async def open(self) -> None:
        """Open the account page, whose form may be sent again and again."""
        found = _TOKEN.search((await self._http.get(f"{self.fleet.one.url}/account")).text)
        assert found is not None
        self._token = found[1]

    async def send_form(self, address: str = "11.0.0.1") -> httpx.Response:
        """Press "Sign in" on the account page."""
        form = {"token": self._token, "action": "sign-in"}
        return await self._http.post(
            f"{self.fleet.one.url}/account", data=form, headers={"x-forwarded-for": address}, follow_redirects=False
        )

    async def state(self, address: str = "11.0.0.1") -> str:
        """Begin a login, and return its state."""
        response = await self.send_form(address)
        assert response.status_code == 303, response.text
        return parse_qs(urlsplit(response.headers["location"]).query)["state"][0]

    async def come_back(self, state: str, address: str = "11.0.0.1") -> httpx.Response:
        """Return from the login with a code that it has not issued."""
        query, headers = {"state": state, "code": "junk"}, {"x-forwarded-for": address}
        return await self._http.get(f"{self.fleet.one.url}/oauth/callback", params=query, headers=headers)


@contextlib.asynccontextmanager
async def stranger_of(fleet: SignInFleet) -> AsyncIterator[Stranger]:
    async with plain_client() as http:
        stranger = Stranger(fleet, http)
        await stranger.open()
        yield stranger


@pytest.fixture
async def stranger(fleet: SignInFleet) -> AsyncIterator[Stranger]:
    async with stranger_of(fleet) as one:
        yield one


@pytest.mark.parametrize("path", ["/account", "/authorize"])
async def test_forms_are_limited_by_address_before_they_are_read(fleet: SignInFleet, path: str) -> None:
    async def status(address: str = "11.0.0.1") -> int:
        response = await fleet.http.post(
            f"{fleet.one.url}{path}", content=b"no form", headers={"x-forwarded-for": address}
        )
        assert response.status_code != 429 or int(response.headers["retry-after"]) > 0
        return response.status_code

    assert {await status() for _ in range(FORMS)} == {400}
    assert await status() == 429
    assert await status("11.0.0.2") == 400
    fleet.clock.advance(60)
    assert await status() == 400


async def test_returns_that_sign_nobody_in_are_limited_by_address_and_logged_once(
    clock: HandClock, realm: Realm, caplog: pytest.LogCaptureFixture
) -> None:
    values: dict[str, Any] = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    async with sign_in_fleet(clock, FakeAceData(), **values) as fleet, stranger_of(fleet) as stranger:
        states = [await stranger.state() for _ in range(FAILED_RETURNS + 1)]
        statuses = [(await stranger.come_back(state)).status_code for state in states]
        assert statuses == [403] * FAILED_RETURNS + [429]
        assert len(realm.forms()) == FAILED_RETURNS
    assert [record.name for record in caplog.records].count("app.adapters.auth.oidc_login") == 1


async def test_successful_sign_ins_do_not_count_as_failed_returns(
    clock: HandClock, realm: Realm, browser: Browser
) -> None:
    values: dict[str, Any] = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    realm.login(clock())
    async with sign_in_fleet(clock, FakeAceData(), **values) as fleet:
        teams = teams_in(fleet.one.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        await fleet.settle()
        for _ in range(FAILED_RETURNS + 1):
            client = await fleet.registered()
            assert (await client.connect(browser, prompt="login"))["access_token"]


async def test_an_issuer_that_does_not_answer_is_asked_once_for_many_sign_ins(clock: HandClock, realm: Realm) -> None:
    values: dict[str, Any] = {"sign_in": "oidc", "oidc_issuer": realm.issuer, "oidc_client_id": "luma"}
    async with sign_in_fleet(clock, FakeAceData(), **values) as fleet, stranger_of(fleet) as stranger:
        realm.fail(status=503)
        before = realm.metadata_reads()
        statuses = [form.status_code for form in await asyncio.gather(*(stranger.send_form() for _ in range(20)))]
        assert statuses == [503] * 20
        assert realm.metadata_reads() - before == 1
        realm.fail()
        clock.advance(60)
        assert (await stranger.send_form()).status_code == 303


async def test_a_made_up_state_is_refused_without_the_database(
    clock: HandClock, acedata: FakeAceData, tmp_path: Path
) -> None:
    file = tmp_path / "db"
    async with (
        sign_in_fleet(clock, acedata, database_url=f"sqlite:///{file}") as fleet,
        stranger_of(fleet) as stranger,
        stranger_of(fleet) as other,
    ):
        mine, of_other = await stranger.state(), await other.state()
        file.unlink()  # the database fails from now on
        assert (await stranger.come_back(mine)).status_code == 503
        for state in ("", "x", "a" * 43, "a" * len(mine), mine[:-1] + ("b" if mine[-1] == "a" else "a"), of_other):
            assert (await stranger.come_back(state)).status_code == 400


async def test_sign_in_uses_one_connection_to_the_database_and_leaves_the_others(
    clock: HandClock, acedata: FakeAceData, tmp_path: Path
) -> None:
    """Regression: 300 connections with forms of sign-in delayed a purchase from 0.08 to 2.6 seconds."""
    file = tmp_path / "db"
    async with sign_in_fleet(clock, acedata, database_url=f"sqlite:///{file}") as fleet, stranger_of(fleet) as stranger:
        await fleet.one.ask("luma_generate_video", {"prompt": "A fox"})
        await stranger.state()
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")  # statements that write wait for its end, and others do not
            waiting = [asyncio.ensure_future(stranger.send_form()) for _ in range(5 * CONNECTIONS)]
            for _ in waiting:  # the same event loop reads the forms meanwhile
                await fleet.http.get(f"{fleet.one.url}/livez")
            listed = await fleet.one.ask("luma_list_tasks", {})
            assert len(listed["tasks"]) == 1
            assert not any(form.done() for form in waiting)
            locking.execute("ROLLBACK")
        await asyncio.wait(waiting)


async def test_logins_are_completed_in_few_places_at_the_login(clock: HandClock) -> None:
    asked, may_answer, at_once = asyncio.Event(), asyncio.Event(), [0, 0]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        if at_once[0] == PLACES:
            asked.set()
        await reader.readuntil(b"\r\n\r\n")
        await may_answer.wait()
        at_once[0] -= 1
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        login = FakeAceData(auth_url=url, platform_url=url)
        async with sign_in_fleet(clock, login) as fleet, stranger_of(fleet) as stranger:
            addresses = [f"11.0.1.{number}" for number in range(PLACES + MAX_WAITING + 1)]
            states = [await stranger.state(address) for address in addresses]
            returns = [
                asyncio.ensure_future(stranger.come_back(state, address))
                for state, address in zip(states, addresses, strict=True)
            ]
            first, _ = await asyncio.wait(returns, return_when=asyncio.FIRST_COMPLETED)
            assert [one.result().status_code for one in first] == [503]
            await asked.wait()
            may_answer.set()
            statuses = sorted([(await one).status_code for one in returns])
    assert statuses == [403] * (PLACES + MAX_WAITING) + [503]
    assert at_once[1] == PLACES
