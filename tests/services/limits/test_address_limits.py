"""AddressLimit: limits per network address and in total; an IPv6 /64 network counts as one address."""

from app.services.limits.address_limits import AddressLimit
from tests.support.clock import HandClock


def test_each_address_has_its_own_limit_in_each_window(clock: HandClock) -> None:
    refused: list[None] = []
    limit = AddressLimit(2, 100, 60.0, clock, lambda: refused.append(None))
    assert [limit.take("192.0.2.1") for _ in range(2)] == [None, None]
    assert limit.take("192.0.2.2") is None
    clock.advance(20)
    assert limit.take("192.0.2.1") == 40.0
    assert len(refused) == 1
    clock.advance(40)
    assert limit.take("192.0.2.1") is None


def test_refused_events_do_not_count_towards_the_total_limit(clock: HandClock) -> None:
    limit = AddressLimit(1, 3, 60.0, clock)
    for _ in range(10):
        limit.take("192.0.2.1")
    assert [limit.take(f"192.0.2.{number}") for number in range(2, 4)] == [None, None]
    assert limit.take("192.0.2.9") is not None


def test_a_network_that_succeeded_is_held_to_its_own_limit_only(clock: HandClock) -> None:
    limit = AddressLimit(3, 10, 60.0, clock)
    limit.trust("192.0.2.1")
    assert [limit.take(f"198.51.100.{number}") for number in range(10)] == [None] * 10
    assert limit.take("192.0.2.2") is not None
    assert [limit.take("192.0.2.1") for _ in range(3)] == [None] * 3
    assert limit.take("192.0.2.1") is not None


def test_the_total_may_have_a_shorter_window(clock: HandClock) -> None:
    limit = AddressLimit(2, 3, 3600.0, clock, total_seconds=60.0)
    assert [limit.take(f"192.0.2.{number}") for number in (1, 1, 2)] == [None] * 3
    assert limit.take("192.0.2.3") == 60.0
    clock.advance(60)
    assert limit.take("192.0.2.3") is None
    assert limit.take("192.0.2.1") == 3540.0


def test_give_back_frees_one_event_of_an_address(clock: HandClock) -> None:
    limit = AddressLimit(1, 1, 60.0, clock)
    limit.take("192.0.2.1")
    limit.give_back("192.0.2.1")
    limit.give_back("192.0.2.1")
    assert limit.take("192.0.2.1") is None
    assert limit.take("192.0.2.1") is not None
