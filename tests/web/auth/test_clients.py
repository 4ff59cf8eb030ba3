"""Real OAuth code of real clients, against two replicas behind a load balancer that changes with each connection."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests.support import press
from tests.support.acedata_login import FakeAceData
from tests.support.clock import HandClock
from tests.support.oauth import LOCAL_REDIRECT, SignInFleet, sign_in_fleet


@pytest.fixture
async def balanced(clock: HandClock, acedata: FakeAceData, database_url: str) -> AsyncIterator[SignInFleet]:
    async with sign_in_fleet(clock, acedata, replicas=2, in_real_time=True, database_url=database_url) as fleet:
        fleet.alternate()
        yield fleet


class Storage:
    """Keeps tokens and registration in memory, and counts how often tokens were replaced."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None
        self.replaced = 0

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.replaced += self.tokens is not None
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def provider(url: str, storage: Storage) -> OAuthClientProvider:
    """Return the SDK's sign-in at `url`, whose person approves."""
    answer: dict[str, str] = {}

    async def redirect(url: str) -> None:
        answer.update(await asyncio.to_thread(press.approve, url, LOCAL_REDIRECT))

    async def callback() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])

    metadata = OAuthClientMetadata.model_validate({"client_name": "Python SDK", "redirect_uris": [LOCAL_REDIRECT]})
    return OAuthClientProvider(url, metadata, storage, redirect, callback)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_python_sdk_signs_in_calls_and_refreshes(balanced: SignInFleet, mode: Any) -> None:
    storage, url = Storage(), f"{balanced.issuer}/mcp"
    auth = provider(url, storage)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        started = await client.call_tool("luma_generate_video", {"prompt": "A fox"})
        assert not started.is_error, started
        auth.context.token_expiry_time = 1.0
        listed = await client.call_tool("luma_list_tasks", {})
    task_id = started.structured_content["result"]["task_id"]
    assert [task["task_id"] for task in listed.structured_content["result"]["tasks"]] == [task_id]
    assert storage.replaced == 1, "the token was refreshed"


async def test_the_python_sdk_signs_in_at_the_read_only_url(balanced: SignInFleet) -> None:
    storage, url = Storage(), f"{balanced.issuer}/mcp/readonly"
    async with (
        httpx2.AsyncClient(auth=provider(url, storage), timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert "luma_get_task" in names
    assert "luma_generate_video" not in names
    assert storage.tokens is not None
    assert storage.tokens.scope == "read"


async def test_a_python_sdk_of_2025_signs_in_calls_and_refreshes(balanced: SignInFleet) -> None:
    python = Path(sys.prefix) / "client-2025" / "bin" / "python"
    assert python.exists(), "make test prepares the environment of the older client"
    program = Path(__file__).with_name("client_2025.py")
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(program),
        balanced.issuer,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(Path(press.__file__).parent), "PATH": ""},
    )
    output, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    seen = json.loads(output)
    assert seen["listed"] == [seen["task_id"]]
    assert seen["refreshes"] == 1
    assert seen["scope"] == "read generate"
