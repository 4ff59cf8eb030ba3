"""The sandbox's files, and the HTTP features that browsers need to play them."""

import hashlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
from starlette.applications import Starlette

from app.adapters.sandbox.behaviour import MEDIA_LIFE_SECONDS, Behaviour
from app.adapters.sandbox.engine import Sandbox
from app.adapters.sandbox.media import CLIP, THUMBNAIL, media_routes

NOW = 1_700_000_000.0


def client_of(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://media")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(Starlette(routes=media_routes("/sandbox"))) as client:
        yield client


def test_the_clip_is_a_small_h264_file_that_can_be_streamed() -> None:
    clip = CLIP.read_bytes()
    assert clip[4:8] == b"ftyp"
    assert b"avc1" in clip
    assert clip.index(b"moov") < clip.index(b"mdat")
    assert len(clip) < 40_000


def test_the_thumbnail_is_a_small_jpeg() -> None:
    picture = THUMBNAIL.read_bytes()
    assert (picture[:3], picture[-2:]) == (b"\xff\xd8\xff", b"\xff\xd9")
    assert len(picture) < 10_000


@pytest.mark.parametrize(
    ("name", "media_type", "content"),
    [("any.mp4", "video/mp4", CLIP.read_bytes()), ("other.jpg", "image/jpeg", THUMBNAIL.read_bytes())],
)
async def test_any_task_has_a_clip_and_a_picture(
    client: httpx.AsyncClient, name: str, media_type: str, content: bytes
) -> None:
    answer = await client.get(f"/sandbox/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.content == content


@pytest.mark.parametrize("path", ["/sandbox/any.gif", "/sandbox/a/b.mp4", "/any.mp4"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_a_head_request_returns_the_length_without_a_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/sandbox/any.mp4")
    assert int(answer.headers["content-length"]) == CLIP.stat().st_size
    assert answer.content == b""


async def test_a_range_can_be_requested(client: httpx.AsyncClient) -> None:
    answer = await client.get("/sandbox/any.mp4", headers={"range": "bytes=4-7"})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes 4-7/{CLIP.stat().st_size}"
    assert answer.content == b"ftyp"


async def test_a_range_beyond_the_end_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/sandbox/any.mp4", headers={"range": "bytes=9999999-"})).status_code == 416


async def test_a_file_with_a_matching_etag_is_not_sent_again(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/sandbox/any.mp4")).headers["etag"]
    answer = await client.get("/sandbox/other.mp4", headers={"if-none-match": f'"old", {tag}'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)


async def test_the_etag_is_a_hash_of_the_content(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/sandbox/any.mp4")).headers["etag"]
    assert tag.strip('"') == hashlib.sha256(CLIP.read_bytes()).hexdigest()[:32]


class Statuses(NamedTuple):
    """The HTTP statuses of a task's clip just before and at its expiry, then of the clip of an unknown task."""

    before_expiry: int
    at_expiry: int
    of_unknown_task: int


async def statuses_around_expiry(behaviour: Behaviour) -> Statuses:
    now = [NOW]
    sandbox = Sandbox(seconds=10, media_url="", clock=lambda: now[0], behaviour=behaviour)
    _, record = sandbox.submit("a-token", {"prompt": "x", "async": True})
    statuses = []
    async with client_of(Starlette(routes=media_routes("/m", sandbox.media_is_gone))) as client:
        for age in (MEDIA_LIFE_SECONDS - 1, MEDIA_LIFE_SECONDS):
            now[0] = NOW + 10 + age
            statuses.append((await client.get(f"/m/{record.task_id}.mp4")).status_code)
        statuses.append((await client.get("/m/unknown.mp4")).status_code)
    return Statuses(*statuses)


async def test_the_files_of_a_task_are_gone_after_thirty_days() -> None:
    expected = Statuses(before_expiry=200, at_expiry=404, of_unknown_task=200)
    assert await statuses_around_expiry(Behaviour()) == expected


async def test_files_do_not_expire_if_expiry_is_disabled() -> None:
    expected = Statuses(before_expiry=200, at_expiry=200, of_unknown_task=200)
    assert await statuses_around_expiry(Behaviour(media_life_seconds=None)) == expected
