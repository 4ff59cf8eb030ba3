"""Environment variables for connections to the backend: the proxy to use, and the certificates to trust.

httpx reads the same variables. It raises an exception without a sentence for an IPv6 address in NO_PROXY, a SOCKS proxy
or a missing file.
"""

import ssl
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


class EnvironmentFault(ValueError):
    """A variable that cannot be used; `str()` is a sentence that names it, and no value that may hold a password."""


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy that leads to `url`, or None; none leads to this machine.

    Raises EnvironmentFault for one that cannot be used.
    """
    parts = urlsplit(url)
    if _is_loopback(parts.hostname or ""):  # plain http is for this machine alone, and a proxy would carry it elsewhere
        return None
    if _is_exempt(parts.hostname or "", _read(environment, "no_proxy")[1]):
        return None
    for variable in (f"{parts.scheme}_proxy", "all_proxy"):
        name, value = _read(environment, variable)
        if value:
            return _checked(name, value)
    return None


def tls_context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return what servers are verified with: the file or folder that is named, or else the usual certificates.

    Raises EnvironmentFault where the named ones are not there or are no certificates.
    """
    file, folder = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    if not file and not folder:
        return _usual_certificates()
    try:
        return ssl.create_default_context(cafile=file or None, capath=None if file else folder)
    except (OSError, ssl.SSLError):
        name = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
        raise EnvironmentFault(
            f"{name} names no readable file of certificates in PEM form: correct it, or unset it to use the usual ones."
        ) from None


def _usual_certificates() -> ssl.SSLContext:
    import certifi  # noqa: PLC0415 - only where no others are named

    return ssl.create_default_context(cafile=certifi.where())


def _read(environment: Mapping[str, str], variable: str) -> tuple[str, str]:
    """Return the name under which the variable is set, in small or capital letters, and its value."""
    for name in (variable, variable.upper()):
        if value := environment.get(name, "").strip():
            return name, value
    return variable.upper(), ""


def _checked(name: str, value: str) -> str:
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
            "exempt the backend's host with NO_PROXY."
        )
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY names the host: by name, by a domain above it, by address or by network; `*` is all."""
    return any(_names(item.strip().lower(), host) for item in no_proxy.split(",") if item.strip())


def _names(item: str, host: str) -> bool:
    if item == "*":
        return True
    try:
        return ip_address(host) in ip_network(item.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        domain = item.removeprefix("*").rsplit(":", 1)[0] if item.count(":") == 1 else item.removeprefix("*")
        return host == domain.lstrip(".") or host.endswith(f".{domain.lstrip('.')}")
