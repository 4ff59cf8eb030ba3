"""What a network address is counted as."""

import pytest

from app.services.limits.networks import UNKNOWN, network_of


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0db8:0001:0002::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        (None, UNKNOWN),
        ("", UNKNOWN),
        ("_hidden", UNKNOWN),
        ("x" * 5000, UNKNOWN),
    ],
)
def test_network_of_returns_an_ipv4_address_or_an_ipv6_network(address: str | None, counted_as: str) -> None:
    assert network_of(address) == counted_as
