"""Replicas that are killed during a sign-in: person and client continue with another replica, at every step."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.acedata_login import CLIENT_ID, FakeAceData
from tests.support.forwarder import Forwarder, forwarding
from tests.support.oauth import Browser, Client, Page
from tests.support.process import environment, serving_process
from tests.support.service import KEY


@asynccontextmanager
async def replica(balancer: Forwarder, folder: Path, env: dict[str, str]) -> AsyncIterator[None]:
    """Serve behind the load balancer, and kill the process without a warning when the block ends."""
    with serving_process(cwd=folder, env=env) as server:
        url = await asyncio.to_thread(lambda: server.url)
        balancer.target = urlsplit(url).port or 0
        yield
        server.process.kill()


async def test_each_step_of_a_sign_in_works_after_the_previous_replica_was_killed(
    acedata: FakeAceData, browser: Browser, tmp_path: Path
) -> None:
    async with forwarding(0) as balancer:
        issuer = f"http://127.0.0.1:{balancer.port}"
        env = environment(
            sign_in="acedata",
            public_url=issuer,
            backend="sandbox",
            acedata_auth_url=acedata.auth_url,
            acedata_platform_url=acedata.platform_url,
            acedata_client_id=CLIENT_ID,
            database_url=f"sqlite:///{tmp_path}/luma.db",
            secret_key=KEY,
        )
        client = Client(issuer, browser.http)
        async with replica(balancer, tmp_path, env):
            assert (await client.register()).status_code == 201
        async with replica(balancer, tmp_path, env):
            page = await browser.open(client.url())
        assert isinstance(page, Page)
        async with replica(balancer, tmp_path, env):
            agreed = await browser.http.post(page.action, data=page.form | {"decision": "approve"})
        login = await browser.http.get(agreed.headers["location"])
        async with replica(balancer, tmp_path, env):
            returned = await browser.open(login.headers["location"])
        assert isinstance(returned, dict)
        assert _grants(tmp_path) == 0, "nothing is granted before the code is exchanged"
        async with replica(balancer, tmp_path, env):
            tokens = (await client.exchange(returned["code"])).json()
        assert _grants(tmp_path) == 1
        async with replica(balancer, tmp_path, env):
            refreshed = (await client.refresh(tokens["refresh_token"])).json()
        async with replica(balancer, tmp_path, env):
            again = (await client.refresh(tokens["refresh_token"])).json()
            assert again["refresh_token"] == refreshed["refresh_token"], "as if the answer had been lost"
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            headers = {"authorization": f"Bearer {again['access_token']}", "accept": "application/json"}
            listed = await browser.http.post(f"{issuer}/mcp", json=message, headers=headers)
            assert listed.status_code == 200


def _grants(folder: Path) -> int:
    connection = sqlite3.connect(folder / "luma.db")
    try:
        return int(connection.execute("SELECT count(*) FROM oauth_grants").fetchone()[0])
    finally:
        connection.close()
