"""Resolver: names whose server does not answer hold few threads, and none of the event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.adapters.auth.resolver import MAX_WAITING, PLACES, Resolver
from tests.support.eventually import eventually


class Names:
    """Names of slow.example.com are resolved when `may_end` is set; others at once."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if "slow" in host:
            self.may_end.wait(20)
        if host == "unknown.example.com":
            raise OSError("no such name")
        return [f"address of {host}:{port}"]


@contextmanager
def slow_names() -> Iterator[Names]:
    names = Names()
    try:
        yield names
    finally:
        names.may_end.set()


async def test_addresses_and_errors_reach_the_caller() -> None:
    resolve = Resolver(Names())
    assert await resolve("client.example.com", 443) == ["address of client.example.com:443"]
    with pytest.raises(OSError, match="no such name"):
        await resolve("unknown.example.com", 443)


async def test_a_look_up_without_a_thread_fails_and_leaves_its_place() -> None:
    def start_none(_run: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    resolve = Resolver(Names(), start_none)
    for _ in range(PLACES.places + 1):
        with pytest.raises(OSError, match="thread"):
            await resolve("client.example.com", 443)


async def test_the_system_resolves_by_default() -> None:
    assert "127.0.0.1" in await Resolver()("localhost", 80)


async def test_slow_names_of_one_domain_leave_threads_to_others() -> None:
    with slow_names() as names:
        resolve = Resolver(names)
        slow = [asyncio.create_task(resolve(f"{number}.slow-example.com", 443)) for number in range(20)]
        await eventually(lambda: len(names.asked) == PLACES.per_tenant)
        assert await resolve("client.example.org", 443)
        assert len(names.asked) == PLACES.per_tenant + 1
        names.may_end.set()
        await asyncio.gather(*slow)


async def test_a_thread_keeps_its_place_when_its_caller_has_left() -> None:
    with slow_names() as names:
        resolve = Resolver(names)
        for number in range(PLACES.per_tenant):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(resolve(f"{number}.slow-example.com", 443), 0.05)
        waiting = asyncio.create_task(resolve("last.slow-example.com", 443))
        assert await resolve("client.example.org", 443)
        assert "last.slow-example.com" not in names.asked
        names.may_end.set()
        assert await waiting


async def test_names_that_wait_are_bounded() -> None:
    with slow_names() as names:
        resolve = Resolver(names)
        amount = PLACES.per_tenant + MAX_WAITING
        slow = [asyncio.create_task(resolve(f"{number}.slow-example.com", 443)) for number in range(amount)]
        await eventually(lambda: len(names.asked) == PLACES.per_tenant)
        with pytest.raises(OSError, match="too many"):
            await resolve("one-more.example.com", 443)
        names.may_end.set()
        await asyncio.gather(*slow)
