"""Reads the environment variables for outgoing HTTP connections: the proxy to use and the certificates to trust.

httpx would read the same variables. But its exceptions do not name the variable if NO_PROXY has an IPv6 address, the
proxy is a SOCKS proxy, or the file of certificates does not exist.
"""

import ssl
from collections.abc import Mapping
from functools import cache
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


class EnvironmentFault(ValueError):
    """A variable has an unusable value.

    `str()` is a sentence that names the variable, but not its value, which may contain a password.
    """


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for connections to `url`; None for a direct connection.

    A loopback host is always connected to directly. Raises EnvironmentFault for a proxy that cannot be used.
    """
    parts = urlsplit(url)
    if _is_loopback(parts.hostname or ""):  # plain http is allowed for loopback URLs only, and must not pass a proxy
        return None
    if _is_exempt(parts.hostname or "", _variable(environment, "no_proxy")[1]):
        return None
    for variable in (f"{parts.scheme}_proxy", "all_proxy"):
        name, value = _variable(environment, variable)
        if value:
            return _proxy_url(name, value)
    return None


def tls_context(environment: Mapping[str, str], *, is_for_strangers: bool = False) -> ssl.SSLContext:
    """Return a TLS context that trusts the file in SSL_CERT_FILE, or the folder in SSL_CERT_DIR, or certifi's list.

    `is_for_strangers` is for servers that a caller has named: the context then offers one elliptic curve only.
    Otherwise such a server could choose a finite field of 10,000 bits, which costs 1.2 s for a handshake, or one of
    8,192 bits in TLS 1.3, which costs 0.2 s.

    No context lets a server renegotiate: its certificates would be parsed in the event loop (see `tls_handshake`).

    All callers share one context for the same certificates, because making a context takes 50 ms. Raises
    EnvironmentFault if the file has no certificates or cannot be read. OpenSSL reads the folder only when it verifies a
    certificate, so a missing folder is not detected here.
    """
    file, folder = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    try:
        return _context(file or None, None if file else folder or None, is_for_strangers)
    except (OSError, ssl.SSLError):
        name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
        raise EnvironmentFault(
            f"{name} names no readable file of certificates in PEM form: correct it, or unset it to use the usual ones."
        ) from None


@cache
def _context(file: str | None, folder: str | None, is_for_strangers: bool) -> ssl.SSLContext:
    if file is None and folder is None:
        import certifi  # noqa: PLC0415 - not needed if the environment names certificates

        file = certifi.where()
    context = ssl.create_default_context(cafile=file, capath=folder)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if is_for_strangers:
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.set_ecdh_curve("prime256v1")
    return context


def _variable(environment: Mapping[str, str], variable: str) -> tuple[str, str]:
    """Return the name under which the variable is set, in lower or upper case, and its value; "" if it is not set."""
    for name in (variable, variable.upper()):
        if value := environment.get(name, "").strip():
            return name, value
    return variable.upper(), ""


def _proxy_url(name: str, value: str) -> str:
    """Return the value of the variable `name` as the URL of a proxy. Raises EnvironmentFault if it is unusable."""
    proxy = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(proxy)
        is_usable = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not any(map(str.isspace, proxy))
    except ValueError:
        is_usable = False
    if not is_usable:
        raise EnvironmentFault(
            f"{name} is not the URL of a proxy: set it to one such as http://proxy.example.com:3128."
        )
    if parts.scheme not in ("http", "https"):
        raise EnvironmentFault(
            f"{name} names a {parts.scheme} proxy, which this service cannot use: set it to an http:// proxy, or "
            "exempt the host with NO_PROXY."
        )
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY exempts the host: by name, parent domain, IP address or network; `*` exempts all."""
    return any(_matches(item.strip().lower(), host) for item in no_proxy.split(",") if item.strip())


def _matches(item: str, host: str) -> bool:
    if item == "*":
        return True
    try:
        return ip_address(host) in ip_network(item.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        domain = item.removeprefix("*").rsplit(":", 1)[0] if item.count(":") == 1 else item.removeprefix("*")
        return host == domain.lstrip(".") or host.endswith(f".{domain.lstrip('.')}")
