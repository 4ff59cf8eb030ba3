"""The keys under which limits count network addresses."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

IPV6_PREFIX = 64
"""Length of the prefix under which IPv6 addresses are counted: one customer usually has all addresses of a /64."""

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
        ip = ip_address(address)
    except ValueError:
        return UNKNOWN
    if not isinstance(ip, IPv6Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip_network((int(ip), IPV6_PREFIX), strict=False))
