"""Nothing of one caller's exchange with the backend lives on in the next one's."""

from typing import Any

import httpx

from tests.support.acedata import completed, listing
from tests.support.service import serving, settings

COOKIES = [
    "session=of-a; Path=/",
    "wide=of-a; Domain=backend.example.com; Path=/; Max-Age=9999",
    "big=" + "a" * 10_000,
]


class SettingCookies(httpx.AsyncBaseTransport):
    """Answers every read, sets cookies, and keeps the headers of the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        headers: list[tuple[str, str]] = [("set-cookie", cookie) for cookie in COOKIES]
        return httpx.Response(200, json=listing(completed("t1"), completed("t2")), headers=headers)


async def test_no_cookie_of_the_backend_is_ever_sent_back() -> None:
    backend = SettingCookies()
    async with serving(settings(acedata_url="https://backend.example.com"), backend) as service:
        for token in ("a", "b", "a"):
            asked: dict[str, Any] = {"task_ids": [f"{token}{len(backend.requests)}", "t1", "t2"]}
            await service.call("luma_get_tasks_batch", asked, token=token)
        kept = len(service.assembly.backend.cookies.jar)
    assert len(backend.requests) >= 3
    assert not [request for request in backend.requests if "cookie" in request.headers]
    assert kept == 0
