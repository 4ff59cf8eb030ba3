"""Which URLs of a caller's may be sent on to the backend.

The service fetches nothing itself, so names are not resolved; what is refused is every spelling of an address
that only means something inside somebody's network.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from app.domain.errors import InvalidRequest

LONGEST_URL = 2048
"""Characters; the usual ceiling of browsers and content networks."""

_UNPRINTABLE_OR_AMBIGUOUS = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"^`{|}]")
_OWN_FILE = re.compile(r"/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:[0-9]*)?")
"""Host and port with nothing around them: urlsplit takes the host from between brackets and forgets the rest."""

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PRIVATE_SUFFIXES = (
    "localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa", "onion",
)  # fmt: skip
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only block that the public internet routes; beside it lie old ways to write an IPv4 address."""

_NAT64 = IPv6Address("64:ff9b::").packed[:12]


def hosts_in(addresses: Iterable[str]) -> frozenset[str]:
    """Return the names of hosts in `addresses`: URLs, or hosts with or without a port; `*` names none."""
    split = (urlsplit(address if "://" in address else f"//{address.removesuffix(':*')}") for address in addresses)
    return frozenset(host for parts in split if (host := _host(parts)) not in ("", "*"))


def check_public_url(
    value: str, argument: str, *, own_prefix: str | None = None, own_hosts: frozenset[str] = frozenset()
) -> str:
    """Return `value` as it is if it may be sent on.

    `own_prefix` is where this service itself serves media, in the sandbox alone: such URLs pass. No other URL at one of
    `own_hosts` does: the backend would be made to call this service in the caller's name.
    Raises InvalidRequest, whose sentence names `argument` and never repeats the value.
    """
    if own_prefix is not None and value.startswith(own_prefix) and _OWN_FILE.fullmatch(value, len(own_prefix)):
        return value
    fault = _fault(value)
    if fault is not None:
        raise InvalidRequest(f"`{argument}` {fault}. Give a public http or https URL that anyone can open.")
    if _host(urlsplit(value)) in own_hosts:
        raise InvalidRequest(f"`{argument}` leads to this service itself. Give a URL of a server of your own.")
    return value


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").removesuffix(".")


def _fault(value: str) -> str | None:
    if len(value) > LONGEST_URL:
        return f"is longer than {LONGEST_URL} characters"
    if _UNPRINTABLE_OR_AMBIGUOUS.search(value):
        return "contains a space, a control character, a backslash or another character that a URL must not have"
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError where the port is no port
    except ValueError:
        return "is not a URL"
    return _fault_of(parts)


def _fault_of(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "does not start with http:// or https://"
    if "@" in parts.netloc:
        return "contains a user name or password"
    host = _host(parts)
    if not host:
        return "names no host"
    if not (parts.netloc.isascii() and _AUTHORITY.fullmatch(parts.netloc)):  # some letters fold into ASCII ones
        return "names a host in a form that a URL must not have"
    if not _is_public(host, bracketed="[" in parts.netloc):
        return "names a host that is not public"
    return None


def _is_public(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        return _is_public_ipv6(host)
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):  # browsers read such a host as an IPv4 address, in many spellings
        return _is_public_ipv4(host)
    return len(labels) > 1 and labels[-1] not in _PRIVATE_SUFFIXES and all(map(_LABEL.fullmatch, labels))


def _is_public_ipv4(host: str) -> bool:
    try:
        address = IPv4Address(host)  # accepts the plain dotted form only
    except AddressValueError:
        return False
    return address.is_global and not address.is_multicast


def _is_public_ipv6(host: str) -> bool:
    try:
        address = IPv6Address(host)
    except AddressValueError:
        return False
    inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
    if inner is not None:
        return inner.is_global and not inner.is_multicast
    return address in _GLOBAL_UNICAST and address.is_global and address.teredo is None


def _nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(address.packed[12:]) if address.packed[:12] == _NAT64 else None
