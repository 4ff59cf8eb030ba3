"""Secrets: tokens, prompts and URL queries appear in no log line, metric, Redis key or value, or repr."""

import asyncio
import json
import logging
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from app.domain.errors import BackendError, InvalidRequest
from app.domain.generation import GenerateVideo
from tests.support.acedata import CREDENTIAL, Backend, adapter_over, completed, listing, replying
from tests.support.clock import HandClock
from tests.support.fleet import running_fleet
from tests.support.redis_server import RedisServer
from tests.support.service import ERAS, SECONDS, sandbox, serving, settings, text_of

TOKEN = "very-secret-token-7f3a9c"  # fmt: skip
PROMPT = "A very private purple platypus"
KEY_OF_CALL = "an-idempotency-key-of-annas"
IMAGE = "https://images.example.com/start.png?signature=secret-query"


async def test_a_debug_run_logs_no_token_prompt_or_url_query(tmp_path: Path) -> None:
    """Run calls in a child process with all loggers at DEBUG, and search its output."""
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(driver),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert '"tool":"luma_generate_video_from_image"' in text, "the log was read"
    assert "AceDataCloud returned an error" in text, "errors were logged"
    for secret in (TOKEN, PROMPT, "secret-query", "cdn.example.com"):
        assert secret not in text


@pytest.mark.parametrize("status", [200, 502])
async def test_a_malformed_record_is_not_quoted_in_the_log(status: int, caplog: pytest.LogCaptureFixture) -> None:
    half = json.dumps(listing(completed("task-0", request={"prompt": PROMPT})))[:-30]
    with caplog.at_level(logging.DEBUG):
        async with adapter_over(Backend(replying(status, half))) as adapter:
            reading = await adapter.find_tasks(CREDENTIAL, ["task-0"])
    assert isinstance(reading.answers["task-0"], BackendError)
    said = [vars(record) for record in caplog.records if record.message == "AceDataCloud returned an error"]
    assert [record["status"] for record in said] == [status] * reading.calls
    assert not any("complaint" in record for record in said)
    assert PROMPT not in str(said) + caplog.text


ECHOES = [PROMPT, PROMPT.upper(), quote(PROMPT), quote_plus(PROMPT), PROMPT.encode().hex(), " ".join(PROMPT)]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("is_read", [True, False])
async def test_a_complaint_that_echoes_the_prompt_is_logged_by_code_status_and_length(
    is_read: bool, echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.dumps({"error": {"code": "bad_request", "message": f"Not a good prompt: {echo}"}, "trace_id": "t"})
    with caplog.at_level(logging.DEBUG):
        async with adapter_over(Backend(replying(400, content))) as adapter:
            if is_read:
                await adapter.find_tasks(CREDENTIAL, ["task-0"])
            else:
                with pytest.raises(InvalidRequest):
                    await adapter.submit(CREDENTIAL, GenerateVideo(PROMPT))
    [said] = [vars(record) for record in caplog.records if record.message == "AceDataCloud returned an error"]
    assert (said["code"], said["status"], said["bytes"]) == ("bad_request", 400, len(content))
    assert echo not in str([vars(record) for record in caplog.records])
    assert "good prompt" not in str([vars(record) for record in caplog.records])


async def test_rows_of_purchases_hold_no_hashes_that_could_be_guessed(clock: HandClock, tmp_path: Path) -> None:
    """Two services with two secrets, one caller and one call: no value of the rows is the same, but words and times."""
    values = []
    for number in range(2):
        file, backend = tmp_path / f"{number}.db", sandbox(clock)
        given = settings(
            database_url=f"sqlite:///{file}", secret_key=f"secret {number} of a service that is long enough"
        )
        async with serving(given, backend, clock) as service:
            await service.ask("luma_generate_video", {"prompt": PROMPT, "idempotency_key": KEY_OF_CALL}, token=TOKEN)
        values.append(digests_in(file))
    assert set(values[0]) == {
        "purchases.owner",
        "purchases.request_hash",
        *(f"purchase_keys.{one}" for one in KEY_COLUMNS),
    }
    assert all(values[0][name] != values[1][name] for name in values[0]), values


KEY_COLUMNS = ("owner", "key_hash", "request_hash")


def digests_in(file: Path) -> dict[str, str]:
    """Return the digests in the only purchase of a database and in its key, by table and column."""
    with closing(sqlite3.connect(file)) as database:
        [purchase] = database.execute("SELECT owner, request_hash FROM purchases")
        [key] = database.execute("SELECT owner, key_hash, request_hash FROM purchase_keys")
    names = ("purchases.owner", "purchases.request_hash", *(f"purchase_keys.{one}" for one in KEY_COLUMNS))
    return dict(zip(names, (*purchase, *key), strict=True))


async def test_redis_holds_no_token_in_any_key_or_value(clock: HandClock, redis_server: RedisServer) -> None:
    async with serving(settings(redis_url=redis_server.url), sandbox(clock), clock) as service:
        started = await service.ask("luma_generate_video", {"prompt": PROMPT}, token=TOKEN)
        clock.advance(SECONDS)
        await service.ask("luma_get_task", {"task_id": started["task_id"]}, token=TOKEN)
        with redis_server.client() as client:
            keys = client.keys()
            assert len(keys) == 3, "a record, a finished task and the ids that the tenant knows"
            held = b"".join(key + (client.dump(key) or b"") for key in keys)
        metrics = service.assembly.metrics.exposition()
        shown = repr(await service.assembly.authenticator.authenticate(TOKEN))
    assert TOKEN.encode() not in held
    for secret in (TOKEN, PROMPT, started["task_id"]):
        assert secret.encode() not in metrics
    assert TOKEN not in shown


async def test_the_database_redis_and_the_log_hold_no_credential_key_or_prompt(
    clock: HandClock, tmp_path: Path, redis_server: RedisServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """What an operator may find on disk after members of a team have worked: SQLite's files, Redis's dump, the log."""
    url = f"sqlite:///{tmp_path}/luma.db"
    async with running_fleet(clock, url, redis_url=redis_server.url) as fleet:
        await fleet.teams.credential("film", TOKEN)
        anna = await fleet.teams.member("film", "anna")
        await fleet.settle()
        wanted = {"prompt": PROMPT, "idempotency_key": KEY_OF_CALL}
        started = await fleet.one.ask("luma_generate_video", wanted, token=anna)
        await fleet.other.ask("luma_get_task", {"task_id": started["task_id"]}, token=anna)
        clock.advance(SECONDS)
        full = {"task_ids": [started["task_id"]], "detail": "full"}
        answer = await fleet.other.ask("luma_get_tasks_batch", full, token=anna)
        assert answer["tasks"][0]["prompt"] == PROMPT
        with redis_server.client() as client:
            dumped = b"".join(key + (client.dump(key) or b"") for key in client.scan_iter())
    kept = await asyncio.to_thread(_contents, tmp_path)
    logged = capfd.readouterr().err.encode()
    assert b"film" in kept
    assert started["task_id"].encode() in dumped
    assert b"luma_generate_video" in logged
    for secret in (TOKEN, anna, PROMPT, KEY_OF_CALL):
        assert secret.encode() not in kept + dumped + logged


def _contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_no_error_repeats_the_value_that_was_wrong(clock: HandClock) -> None:
    secret = "https://user:hunter2@10.0.0.1/?key=hunter2"
    async with serving(settings(), sandbox(clock), clock) as service:
        for era in ERAS:
            for tool, arguments in (
                ("luma_generate_video", {"prompt": ["hunter2"]}),
                ("luma_generate_video", {"prompt": "x", "aspect_ratio": "hunter2"}),
                ("luma_generate_video", {"prompt": "x", "callback_url": secret}),
                ("luma_generate_video", {"prompt": "x", "hunter2 is my password": 1}),
                ("luma_extend_video_from_url", {"prompt": "x", "video_url": secret}),
                ("luma_get_tasks_batch", {"task_ids": ["hunter2 hunter2"]}),
            ):
                result = await service.call(tool, arguments, era=era)
                assert result["isError"] is True
                assert "hunter2" not in text_of(result)
                assert "pydantic" not in text_of(result)


DRIVER = f"""
import asyncio, logging
from app.observability.logging import configure_logging
from tests.support.clock import HandClock
from tests.support.service import ERAS, SECONDS, sandbox, serving, settings

async def main():
    clock = HandClock()
    configure_logging("DEBUG", "json")
    async with serving(settings(log_level="DEBUG"), sandbox(clock), clock) as service:
        for era in ERAS:
            ids = []
            for words in ("", " [fail]", " [moderated]"):
                started = await service.ask(
                    "luma_generate_video_from_image",
                    {{"prompt": {PROMPT!r} + words, "start_image_url": {IMAGE!r}}}, token={TOKEN!r}, era=era)
                ids.append(started["task_id"])
            for words in ("[refuse]", "[broke]"):
                await service.fail("luma_generate_video", {{"prompt": {PROMPT!r} + words}}, token={TOKEN!r}, era=era)
            await service.fail("luma_extend_video_from_url", {{"prompt": {PROMPT!r}, "video_url": {IMAGE!r}}},
                               token={TOKEN!r}, era=era)
            await service.ask("luma_get_tasks_batch", {{"task_ids": ids}}, token={TOKEN!r}, era=era)
            clock.advance(SECONDS)
            await service.ask("luma_get_tasks_batch", {{"task_ids": ids}}, token={TOKEN!r}, era=era)
            await service.call("luma_generate_video", {{"prompt": 7, {PROMPT!r}: 1}}, token={TOKEN!r}, era=era)
            await service.request("tools/call", {{"name": {PROMPT!r}}}, token={TOKEN!r}, era=era)
            await service.request("no/such/method", {{"prompt": {PROMPT!r}}}, token={TOKEN!r}, era=era)

asyncio.run(main())
"""
