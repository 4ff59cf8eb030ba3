"""Events between replicas are accepted once, and soon after they were signed."""

import logging

import pytest

from app.adapters.redis.signed_events import MAX_AGE_SECONDS, MAX_SEEN, SignedEvents
from tests.support.clock import HandClock
from tests.support.keeping import CHANNEL, SIGNER


@pytest.fixture
def sender(clock: HandClock) -> SignedEvents:
    return SignedEvents(SIGNER, CHANNEL, clock)


@pytest.fixture
def receiver(clock: HandClock) -> SignedEvents:
    return SignedEvents(SIGNER, CHANNEL, clock)


def test_an_event_is_accepted_once(sender: SignedEvents, receiver: SignedEvents, clock: HandClock) -> None:
    message = sender.sign(b"tasks\0a")
    clock.advance(0.1)
    assert receiver.accept(message) == b"tasks\0a"
    for _ in range(3):
        assert receiver.accept(message) is None
        clock.advance(MAX_AGE_SECONDS / 4)


def test_equal_events_of_one_time_are_accepted_each(sender: SignedEvents, receiver: SignedEvents) -> None:
    for _ in range(3):
        assert receiver.accept(sender.sign(b"tasks\0a")) == b"tasks\0a"


@pytest.mark.parametrize("seconds", [MAX_AGE_SECONDS + 1, -MAX_AGE_SECONDS - 1])
def test_an_event_of_another_time_is_ignored_and_logged(
    sender: SignedEvents, clock: HandClock, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = SignedEvents(SIGNER, CHANNEL, lambda: clock() + seconds)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert receiver.accept(sender.sign(b"tasks\0a")) is None
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [
        "Ignored events of replicas whose time is more than 10 s from this process's clock"
    ]


def test_a_replay_is_ignored_after_the_memory_has_turned_over(
    sender: SignedEvents, receiver: SignedEvents, clock: HandClock
) -> None:
    old = sender.sign(b"tasks\0old")
    assert receiver.accept(old) is not None
    for _ in range(30):  # more than the age, in steps shorter than it
        clock.advance(1.0)
        assert receiver.accept(sender.sign(b"tasks\0new")) is not None
        assert receiver.accept(old) is None


def test_what_is_remembered_is_bounded(sender: SignedEvents, receiver: SignedEvents) -> None:
    messages = [sender.sign(b"tasks\0a") for _ in range(MAX_SEEN // 2 + 10)]
    assert all(receiver.accept(message) is not None for message in messages)
    assert all(receiver.accept(message) is None for message in messages)
    assert len(receiver._seen) + len(receiver._seen_before) <= MAX_SEEN  # noqa: SLF001 - the bound


@pytest.mark.parametrize(
    "junk", [b"", b"\xff", bytes(16), SIGNER.sign("other", b"x"), SIGNER.sign(CHANNEL, b"tasks\0a")]
)
def test_what_was_not_signed_as_an_event_is_ignored(receiver: SignedEvents, junk: bytes) -> None:
    assert receiver.accept(junk) is None
