"""Which URLs of a caller's may be sent on to the backend.

The service fetches nothing itself, so names are not resolved; what is refused is every spelling of an address
that only means something inside somebody's network.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from unicodedata import normalize
from urllib.parse import SplitResult, quote, urlsplit

from app.domain.errors import InvalidRequest

LONGEST_URL = 2048
"""Characters; the usual ceiling of browsers and content networks."""

_AMBIGUOUS = re.compile(r"[ \\<>\"^`{|}]")
_ASCII = "".join(map(chr, range(128)))
_OWN_FILE = re.compile(r"/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:[0-9]*)?")
"""Host and port with nothing around them: urlsplit takes the host from between brackets and forgets the rest."""

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_BEFORE_PATH = re.compile(r"[^:]*://[^/]*")
"""Whatever a parser may take for user, host and port: not every one ends them at a question or number sign."""

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_TOP = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]+")
"""The form of every name in the root zone."""

_NUMERIC = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PRIVATE_SUFFIXES = frozenset((
    "localhost", "localdomain", "localnet", "local", "internal", "intranet", "lan", "home", "corp", "private", "domain",
    "workgroup", "svc", "pod", "cluster", "consul", "docker", "arpa", "onion", "alt", "test", "example", "invalid",
    "mail", "k8s", "nomad", "priv", "lab", "intra", "vpn", "dmz", "i2p", "flycast", "localhost6", "localdomain6",
    "default", "production", "staging", "preprod", "uat", "infra", "backend", "frontend", "monitoring", "database",
))  # fmt: skip
"""Last labels that mean something inside a network, or nothing; none is delegated in the public root zone.

Sources: RFC 2606, RFC 6761 and RFC 6762 appendix G, ICANN's reservation of `internal`, and the defaults of Kubernetes,
Consul, Docker, Nomad and Fly.io; `mail` is one of the names that ICANN defers for good. The last line has usual
namespaces of Kubernetes, where service.namespace is a name.
"""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only block that the public internet routes; beside it lie old ways to write an IPv4 address."""

_SPECIAL_IPV4 = tuple(map(IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)))  # fmt: skip
_SPECIAL_IPV6 = tuple(map(IPv6Network, (
    "2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20",
)))  # fmt: skip
"""The IANA special-purpose address registries of 2026, multicast, and Azure's own 168.63.129.16.

`ipaddress` of older Pythons lacks some of the registries' entries.
"""

_NAT64 = IPv6Address("64:ff9b::").packed[:12]


def hosts_in(addresses: Iterable[str]) -> frozenset[str]:
    """Return the names of hosts in `addresses`: URLs, or hosts with or without a port; `*` names none.

    An IPv6 address comes in its short form, or as the IPv4 address that it leads to.
    """
    split = (urlsplit(address if "://" in address else f"//{address.removesuffix(':*')}") for address in addresses)
    return frozenset(host for parts in split if (host := _reached(_host(parts))) not in ("", "*"))


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
    error = _fault(value)
    if error is not None:
        raise InvalidRequest(f"`{argument}` {error}. Give a public http or https URL that anyone can open.")
    if own_hosts and _reached(_host(urlsplit(value))) in own_hosts:
        raise InvalidRequest(f"`{argument}` leads to this service itself. Give a URL of a server of your own.")
    return value


def shown_url(value: str, *, own_prefix: str | None = None) -> str | None:
    """Return a URL of the backend's in ASCII, percent-encoded where it is not, or None where it may not be shown."""
    if len(value) > LONGEST_URL or not value.isprintable():
        return None
    url = value if value.isascii() else quote(value, safe=_ASCII, errors="replace")
    if own_prefix is not None and url.startswith(own_prefix) and _OWN_FILE.fullmatch(url, len(own_prefix)):
        return url
    return url if _fault(url) is None else None


def is_plain_url(value: str) -> bool:
    """Return whether `value` has the form that `shown_url` returns, without a second look at its host."""
    return (
        _SCHEME.match(value) is not None
        and len(value) <= LONGEST_URL
        and value.isascii()
        and value.isprintable()
        and _AMBIGUOUS.search(value) is None
    )


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    if ":" not in host:
        return host
    try:
        return str(IPv6Address(host))
    except AddressValueError:
        return host


def _reached(host: str) -> str:
    """Return the IPv4 address that an IPv6 one leads to, or `host` as it is."""
    if ":" not in host:
        return host
    try:
        inner = _inner(IPv6Address(host))
    except AddressValueError:
        return host
    return host if inner is None else str(inner)


def _fault(value: str) -> str | None:
    if len(value) > LONGEST_URL:
        return f"is longer than {LONGEST_URL} characters"
    if _AMBIGUOUS.search(value) or not value.isprintable():
        return "contains a space, a control or direction character, a backslash or another that a URL must not have"
    try:
        parts = urlsplit(value)
        port = parts.port  # raises ValueError where the port is no port
    except ValueError:
        return "is not a URL"
    if port == 0:
        return "names port 0, which nothing listens on"
    start = _BEFORE_PATH.match(value)
    if start is not None and "@" in start[0]:
        return "contains a user name or password, or an @ before its path"
    return _fault_of(parts)


def _fault_of(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "does not start with http:// or https://"
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
    if len(labels) < 2 or not _TOP.fullmatch(labels[-1]):  # noqa: PLR2004 - a name beside the top one
        return False
    return labels[-1] not in _PRIVATE_SUFFIXES and all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    """Return whether a label is one of DNS, and no second spelling of an ASCII one that lenient clients would fold."""
    if not _LABEL.fullmatch(label):
        return False
    if not label.startswith("xn--"):
        return True
    try:
        decoded = label.removeprefix("xn--").encode().decode("punycode")
    except UnicodeError:
        return False
    return not normalize("NFKC", decoded).isascii()


def _is_public_ipv4(host: str) -> bool:
    try:
        address = IPv4Address(host)  # accepts the plain dotted form only
    except AddressValueError:
        return False
    return not _is_special(address)


def _is_public_ipv6(host: str) -> bool:
    try:
        address = IPv6Address(host)
    except AddressValueError:
        return False
    inner = _inner(address)
    if inner is not None:
        return not _is_special(inner)
    return address in _GLOBAL_UNICAST and not any(address in block for block in _SPECIAL_IPV6)


def _is_special(address: IPv4Address) -> bool:
    return any(address in block for block in _SPECIAL_IPV4)


def _inner(address: IPv6Address) -> IPv4Address | None:
    return address.ipv4_mapped or address.sixtofour or _nat64(address)


def _nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(address.packed[12:]) if address.packed[:12] == _NAT64 else None
