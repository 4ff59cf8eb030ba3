"""Secrets of a sign-in are not in logs or metrics, and not in plain text in the database."""

import logging
import sqlite3
from pathlib import Path

import pytest

from tests.support.acedata_login import FakeAceData
from tests.support.clock import HandClock
from tests.support.oauth import Page, sign_in_fleet


async def test_no_secret_of_a_sign_in_is_stored_or_logged_in_plain_text(
    clock: HandClock, acedata: FakeAceData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "luma.db"
    with caplog.at_level(logging.DEBUG):
        async with sign_in_fleet(clock, acedata, database_url=f"sqlite:///{file}") as fleet:
            browser = await fleet.browser()
            client = await fleet.registered(token_endpoint_auth_method="client_secret_post")
            page = await browser.open(client.url())
            assert isinstance(page, Page)
            answer = await browser.press(page, "approve")
            assert isinstance(answer, dict)
            tokens = (await client.exchange(answer["code"])).json()
            again = (await client.refresh(tokens["refresh_token"])).json()
            await fleet.one.ask("luma_generate_video", {"prompt": "A fox"}, token=again["access_token"])
            await client.refresh("lrt_invented")
            metrics = (await fleet.one.http.get(f"{fleet.one.url}/metrics")).text
            cookies = list(browser.http.cookies.jar)
    secrets = [
        answer["code"],
        client.verifier,
        client.state,
        client.extra["client_secret"],
        page.form["request"],
        *(tokens[name] for name in ("access_token", "refresh_token")),
        *(again[name] for name in ("access_token", "refresh_token")),
        acedata.credentials[0]["token"],
        *acedata.access_tokens,
        *acedata.refresh_tokens,
        *(asked[name] for asked in acedata.authorized for name in ("state", "code_challenge")),
        *(str(cookie.value) for cookie in cookies),
        "fox@example.com",
    ]
    assert len(secrets) > 14
    own = (record for record in caplog.records if not record.name.startswith(("httpx", "httpcore")))  # the test's
    log = "".join(f"{record.getMessage()} {vars(record)}" for record in own)
    dumped = "\n".join(sqlite3.connect(file).iterdump())
    assert "oauth_grants" in dumped
    for secret in secrets:
        assert secret not in metrics
        assert secret not in dumped
        assert secret not in log
