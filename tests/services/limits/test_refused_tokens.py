"""RefusedTokens: an address over its limit, tokens that are checked nevertheless, and the keys of addresses."""

import logging

import pytest

from app.services.limits.refused_tokens import (
    MAX_ADDRESSES,
    MAX_TOKENS,
    PERIOD_SECONDS,
    TRIAL_SECONDS,
    RefusedTokens,
)
from tests.support.clock import HandClock

OFFICE, HOME = "203.0.113.7", "198.51.100.9"
MOST = 10


class World:
    """A throttle, the valid tokens, the formerly valid ones, and the number of tokens that were not checked."""

    def __init__(self, clock: HandClock) -> None:
        self.accepted: set[str] = set()
        self.revoked: set[str] = set()
        self.throttled = 0
        self.tokens = RefusedTokens(
            MOST, clock, hash_token=lambda token: f"#{token}", is_exempt=self._is_exempt, on_throttled=self._throttle
        )

    def _is_exempt(self, token: str, token_hash: str) -> bool:
        assert token_hash == f"#{token}"
        return token in self.accepted | self.revoked

    def _throttle(self) -> None:
        self.throttled += 1

    def send(self, address: str | None, token: str) -> bool:
        """Send a token, and return whether it was checked. It is refused unless it is in `accepted`."""
        if self.tokens.throttle(address, token) is not None:
            return False
        if token not in self.accepted:
            self.tokens.record_refused(address, token)
        return True

    def flood(self, address: str | None, count: int = MOST) -> None:
        for number in range(count):
            assert self.send(address, f"bad-{number}")


@pytest.fixture
def world(clock: HandClock) -> World:
    return World(clock)


def test_tokens_of_an_address_are_not_checked_over_the_limit(world: World) -> None:
    world.flood(OFFICE)
    assert not world.send(OFFICE, "bad-0")
    assert world.throttled == 1
    world.flood(HOME)


def test_an_accepted_token_is_checked_during_a_flood(world: World) -> None:
    world.accepted.add("good")
    world.flood(OFFICE)
    assert all(world.send(OFFICE, "good") for _ in range(100))


def test_a_new_token_is_checked_while_one_refused_token_is_repeated(world: World) -> None:
    for _ in range(MOST):
        assert world.send(OFFICE, "bad")
    assert not any(world.send(OFFICE, "bad") for _ in range(100))
    world.accepted.add("good")
    assert world.send(OFFICE, "good")


def test_one_unknown_token_is_checked_each_second_during_a_flood(world: World, clock: HandClock) -> None:
    world.flood(OFFICE)
    for second in range(5):
        checked = [world.send(OFFICE, f"new-{second}-{number}") for number in range(50)]
        assert checked == [True] + [False] * 49
        clock.advance(TRIAL_SECONDS)


def test_a_revoked_key_is_checked_once_a_minute_during_a_flood(world: World, clock: HandClock) -> None:
    world.flood(OFFICE)
    world.revoked.add("revoked")
    assert world.send(OFFICE, "revoked")
    assert not any(world.send(OFFICE, "revoked") for _ in range(100))
    clock.advance(PERIOD_SECONDS)
    assert world.send(OFFICE, "revoked")


def test_throttle_returns_the_wait_until_the_address_is_within_its_limit(world: World, clock: HandClock) -> None:
    world.flood(OFFICE)
    wait = world.tokens.throttle(OFFICE, "bad-0")
    assert wait is not None
    assert wait == pytest.approx(PERIOD_SECONDS / MOST)
    clock.advance(wait)
    assert world.send(OFFICE, "bad-0")
    assert not world.send(OFFICE, "bad-0")
    clock.advance(PERIOD_SECONDS)
    world.flood(OFFICE)


def test_each_burst_logs_one_warning(world: World, clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    world.flood(OFFICE)
    for _ in range(2):
        for _ in range(500):
            world.send(OFFICE, "bad-0")
        clock.advance(PERIOD_SECONDS)
        world.flood(OFFICE)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 2
    assert OFFICE in lines[0]
    assert "bad-0" not in "".join(lines)


def test_clients_of_one_ipv6_network_share_a_limit(world: World) -> None:
    for number in range(MOST):
        assert world.send(f"2001:db8::{number + 1:x}", f"bad-{number}")
    assert not world.send("2001:db8::ffff", "bad-0")


def test_memory_is_bounded(world: World) -> None:
    for number in range(MAX_ADDRESSES + 50):
        world.send(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"bad-{number}")
    tokens = world.tokens
    assert len(tokens._spent_until) == MAX_ADDRESSES  # noqa: SLF001 - the bound itself
    assert len(tokens._refused) == MAX_TOKENS  # noqa: SLF001 - the bound itself
