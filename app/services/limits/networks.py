"""The keys under which limits count network addresses."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

IPV6_PREFIX = 64
"""Bits of an IPv6 address that are counted: a provider's customer usually has all addresses behind them."""

MAX_ADDRESS_LENGTH = 64
"""Characters. A proxy may pass on any text as the client's address; a longer text is no IP address."""

UNKNOWN = "unknown"
"""Stands for all clients without an IP address, such as those of a Unix socket."""


def network_of(address: str | None) -> str:
    """Return the key under which an address is counted: an IPv4 address, an IPv6 network, or UNKNOWN."""
    return UNKNOWN if address is None or len(address) > MAX_ADDRESS_LENGTH else _network(address)


@lru_cache(1024)
def _network(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:
        return UNKNOWN
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), IPV6_PREFIX), strict=False))
