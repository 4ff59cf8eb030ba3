"""Checks that a caller's URL is public before it is passed to the backend.

The service does not fetch these URLs, so it does not resolve names. It refuses every spelling of an address that is
not on the public internet, and names that exist only in private networks.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from unicodedata import normalize
from urllib.parse import SplitResult, quote, urlsplit

from app.domain.errors import InvalidRequest

MAX_URL_LENGTH = 2048
"""Characters: a usual limit of browsers and CDNs."""

_AMBIGUOUS = re.compile(r"[ \\<>\"^`{|}]")
_ASCII = "".join(map(chr, range(128)))
_OWN_FILE = re.compile(r"/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
"""The part of a URL after the prefix of this service's own media URLs."""

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:[0-9]*)?")
"""A host and an optional port, with no other text: `urlsplit` ignores text before or after a bracketed host."""

_FOREIGN_HOST = re.compile(r"[^/?#]*//[^/?#]*[^\x00-\x7f]")
"""A URL whose host is not ASCII. `urlsplit` would normalize it, in time quadratic in the accents on one letter."""

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_BEFORE_PATH = re.compile(r"[^:]*://[^/]*")
"""The part that some parser may read as user, host and port: not every parser ends it at "?" or "#"."""

_INVALID_HOST_FORM = "names a host in a form that is not valid in a URL"

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_TOP_LEVEL_DOMAIN = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]+")
"""The form of every top-level domain."""

_NUMERIC = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PRIVATE_SUFFIXES = frozenset((
    "localhost", "localdomain", "localnet", "local", "internal", "intranet", "lan", "home", "corp", "private", "domain",
    "workgroup", "svc", "pod", "cluster", "consul", "docker", "arpa", "onion", "alt", "test", "example", "invalid",
    "mail", "k8s", "nomad", "priv", "lab", "intra", "vpn", "dmz", "i2p", "flycast", "localhost6", "localdomain6",
    "default", "production", "staging", "preprod", "uat", "infra", "backend", "frontend", "monitoring", "database",
))  # fmt: skip
"""Last labels of names in private networks, and of reserved names. None but `arpa` is delegated in the root zone.

Sources: RFC 2606, RFC 6761 and RFC 6762 appendix G, ICANN's reservation of `internal`, and the defaults of Kubernetes,
Consul, Docker, Nomad and Fly.io. ICANN has deferred `mail` indefinitely. The last line has common namespaces of
Kubernetes, in which `service.namespace` is a host name.
"""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only IPv6 block with public unicast addresses. Deprecated forms of IPv4 addresses are outside of it."""

_SPECIAL_IPV4 = tuple(map(IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)))  # fmt: skip
_SPECIAL_IPV6 = tuple(map(IPv6Network, (
    "2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20",
)))  # fmt: skip
"""The IANA special-purpose address registries of 2026, multicast, and Azure's platform address 168.63.129.16.

The `ipaddress` module of older Python releases lacks some of these entries.
"""

_NAT64 = IPv6Address("64:ff9b::").packed[:12]


def hosts_in(addresses: Iterable[str]) -> frozenset[str]:
    """Return the hosts in `addresses`, which are URLs, or hosts with or without a port. A host `*` is left out.

    An IPv6 address is returned in its short form, or as the IPv4 address that it embeds.
    """
    split = (urlsplit(address if "://" in address else f"//{address.removesuffix(':*')}") for address in addresses)
    return frozenset(host for parts in split if (host := _embedded_ipv4_or(_host(parts))) not in ("", "*"))


def check_public_url(
    value: str, argument: str, *, own_prefix: str | None = None, own_hosts: frozenset[str] = frozenset()
) -> str:
    """Return `value` unchanged if it may be passed to the backend.

    `own_prefix` is the prefix of this service's own media URLs; None outside of the sandbox. URLs of files under it are
    allowed. Any other URL with one of `own_hosts` is refused, because the backend would send requests to this service.
    Raises InvalidRequest, whose sentence names `argument` and never contains the value.
    """
    if own_prefix is not None and value.startswith(own_prefix) and _OWN_FILE.fullmatch(value, len(own_prefix)):
        return value
    error = _fault(value)
    if error is not None:
        raise InvalidRequest(f"`{argument}` {error}. Give a public http or https URL that anyone can open.")
    if own_hosts and _embedded_ipv4_or(_host(urlsplit(value))) in own_hosts:
        raise InvalidRequest(f"`{argument}` leads to this service itself. Give a URL on a server of your own.")
    return value


def shown_url(value: str, *, own_prefix: str | None = None) -> str | None:
    """Return a URL from the backend in percent-encoded ASCII; None if it is not public, not valid or too long."""
    if len(value) > MAX_URL_LENGTH or not value.isprintable():
        return None
    url = value if value.isascii() else quote(value, safe=_ASCII, errors="replace")
    if own_prefix is not None and url.startswith(own_prefix) and _OWN_FILE.fullmatch(url, len(own_prefix)):
        return url
    return url if _fault(url) is None else None


def is_plain_url(value: str) -> bool:
    """Return whether `value` has the form that `shown_url` returns. The host is not checked again."""
    return (
        _SCHEME.match(value) is not None
        and len(value) <= MAX_URL_LENGTH
        and value.isascii()
        and value.isprintable()
        and _AMBIGUOUS.search(value) is None
    )


def is_ip_or_private_name(address: str) -> bool:
    """Return whether a host is an IP address, even a public one, or a name that the public DNS does not have.

    `address` is the host, with or without a port.
    """
    try:
        host = _host(urlsplit(f"//{address}"))
    except ValueError:
        return False
    labels = host.split(".")
    return _is_ip_address(host) or (
        all(map(_is_label, labels)) and (len(labels) == 1 or labels[-1] in _PRIVATE_SUFFIXES)
    )


def _is_ip_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _host(parts: SplitResult) -> str:
    """Return the host in lower case, without a final dot, an IPv6 address in its short form; "" if there is none."""
    host = (parts.hostname or "").removesuffix(".")
    if ":" not in host:
        return host
    try:
        return str(IPv6Address(host))
    except AddressValueError:
        return host


def _embedded_ipv4_or(host: str) -> str:
    """Return the IPv4 address that an IPv6 address embeds, else `host`."""
    if ":" not in host:
        return host
    try:
        embedded = _embedded_ipv4(IPv6Address(host))
    except AddressValueError:
        return host
    return host if embedded is None else str(embedded)


def _fault(value: str) -> str | None:
    """Return why `value` is not a public URL, as the end of a sentence; None if it is one."""
    if len(value) > MAX_URL_LENGTH:
        return f"is longer than {MAX_URL_LENGTH} characters"
    if _AMBIGUOUS.search(value) or not value.isprintable():
        return "contains a space, a control character, a backslash or another character that is not valid in a URL"
    if _FOREIGN_HOST.match(value):  # clients fold some letters into ASCII ones
        return _INVALID_HOST_FORM
    try:
        parts = urlsplit(value)
        port = parts.port  # raises ValueError if it is not a port number
    except ValueError:
        return "is not a URL"
    start = _BEFORE_PATH.match(value)
    if start is not None and "@" in start[0]:
        return "contains a user name or password, or an @ before its path"
    return "names port 0, which is not valid" if port == 0 else _scheme_or_host_fault(parts)


def _scheme_or_host_fault(parts: SplitResult) -> str | None:
    if parts.scheme not in ("http", "https"):
        return "does not start with http:// or https://"
    host = _host(parts)
    if not host:
        return "names no host"
    if not (parts.netloc.isascii() and _AUTHORITY.fullmatch(parts.netloc)):
        return _INVALID_HOST_FORM
    if not _is_public(host, bracketed="[" in parts.netloc):
        return "names a host that is not public"
    return None


def _is_public(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        return _is_public_ipv6(host)
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):  # WHATWG URL: a host whose last label is a number is an IPv4 address
        return _is_public_ipv4(host)
    if len(labels) < 2 or not _TOP_LEVEL_DOMAIN.fullmatch(labels[-1]):  # noqa: PLR2004 - a name under a top-level domain
        return False
    return labels[-1] not in _PRIVATE_SUFFIXES and all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    """Return whether a label is valid in DNS. An "xn--" label that NFKC turns into ASCII is not valid."""
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
    embedded = _embedded_ipv4(address)
    if embedded is not None:
        return not _is_special(embedded)
    return address in _GLOBAL_UNICAST and not any(address in block for block in _SPECIAL_IPV6)


def _is_special(address: IPv4Address) -> bool:
    return any(address in block for block in _SPECIAL_IPV4)


def _embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    return address.ipv4_mapped or address.sixtofour or _nat64(address)


def _nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(address.packed[12:]) if address.packed[:12] == _NAT64 else None
