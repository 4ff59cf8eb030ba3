"""The cached keys of an issuer: refreshed periodically, read once for concurrent requests, and limited in age."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.adapters.auth.jwt.faults import IssuerUnavailable, TokenRefused
from app.adapters.auth.jwt.issuer_keys import (
    MAX_KEY_AGE_SECONDS,
    MAX_WAITING,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    IssuerKeys,
)
from app.adapters.auth.jwt.keys import KeySet, read_key_set
from app.ports.auth import AuthenticationUnavailable
from tests.support.clock import HandClock, while_time_passes
from tests.support.issuer_app import new_private_key, public_jwk


class Source:
    """A source of a key set that tests replace, with a switch for outages."""

    def __init__(self) -> None:
        self.ids = ["one"]
        self.fault: Exception | None = None
        self.reads = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._private = new_private_key("ES256")

    async def read(self) -> KeySet:
        self.reads += 1
        await self.may_answer.wait()
        if self.fault is not None:
            raise self.fault
        return read_key_set({"keys": [public_jwk(name, "ES256", self._private) for name in self.ids]})


class Followed:
    """IssuerKeys that read from a source, and their clock."""

    def __init__(self, clock: HandClock) -> None:
        self.source, self.clock = Source(), clock
        self.keys = IssuerKeys(self.source.read, clock, clock.sleep)

    async def settle(self, seconds: float) -> None:
        await while_time_passes(self.clock, self.clock.sleep(seconds), step=60)

    async def outcome(self, key_id: str) -> str:
        """Return the id of the key that is found, else the name of the exception."""
        try:
            return str((await self.keys.find(key_id, "ES256")).id)
        except (TokenRefused, AuthenticationUnavailable) as exc:
            return type(exc).__name__


@pytest.fixture
async def followed(clock: HandClock) -> AsyncIterator[Followed]:
    lent = Followed(clock)
    async with lent.keys.running():
        yield lent


async def test_keys_are_read_at_the_start_and_then_periodically(followed: Followed) -> None:
    assert await followed.outcome("one") == "one"
    assert followed.source.reads == 1
    await followed.settle(REFRESH_SECONDS * 3)
    assert followed.source.reads in (3, 4)


@pytest.mark.parametrize("fault", [IssuerUnavailable("does not answer"), RuntimeError("a fault of the program")])
async def test_keys_are_used_for_an_hour_without_the_issuer(followed: Followed, fault: Exception) -> None:
    assert await followed.outcome("one") == "one"
    followed.source.fault = fault
    await followed.settle(MAX_KEY_AGE_SECONDS - 3 * 60)
    assert await followed.outcome("one") == "one"
    assert await followed.outcome("two") == "AuthenticationUnavailable"
    await followed.settle(6 * 60)
    assert await followed.outcome("one") == "AuthenticationUnavailable"
    followed.source.fault = None
    await followed.settle(60)
    assert await followed.outcome("one") == "one"


async def test_tokens_with_unknown_keys_cause_one_read_in_ten_seconds(followed: Followed) -> None:
    assert await followed.outcome("one") == "one"
    for windows in (1, 2):
        followed.clock.advance(RETRY_SECONDS)
        outcomes = await asyncio.gather(*(followed.outcome(f"made-up-{number}") for number in range(MAX_WAITING)))
        assert set(outcomes) == {"TokenRefused"}
        assert followed.source.reads == 1 + windows


async def test_waiting_requests_share_one_read_and_are_bounded(
    followed: Followed,
) -> None:
    assert await followed.outcome("one") == "one"
    followed.clock.advance(RETRY_SECONDS)
    followed.source.may_answer.clear()
    followed.source.ids = ["one", "two"]
    asking = [asyncio.create_task(followed.outcome("two")) for _ in range(MAX_WAITING)]
    while followed.source.reads == 1:
        await asyncio.sleep(0)
    assert await followed.outcome("two") == "AuthenticationUnavailable"
    followed.source.may_answer.set()
    assert await asyncio.gather(*asking) == ["two"] * MAX_WAITING
    assert followed.source.reads == 2


async def test_the_digest_changes_with_the_keys_and_only_then(followed: Followed) -> None:
    assert await followed.outcome("one") == "one"
    first = followed.keys.digest
    await followed.settle(REFRESH_SECONDS + 60)
    assert followed.keys.digest == first
    followed.source.ids = ["one", "two"]
    await followed.settle(REFRESH_SECONDS + 60)
    assert followed.keys.digest not in (first, None)
