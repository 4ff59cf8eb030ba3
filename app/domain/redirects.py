"""Redirect URIs of OAuth clients: rules for registration and for matching."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

MAX_REDIRECT_LENGTH = 1024
"""Characters. The redirect URI is part of an authorization URL, which is limited to 4 KB."""

APP_SCHEMES = frozenset(("cursor", "vscode", "vscode-insiders"))
"""Private-use URI schemes of known clients. Others are refused, because any program can register for a scheme."""

_UNSAFE = re.compile(r"[^!-~]|[\\<>\"^`{|}#]")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(:[0-9]{1,5})?")
"""A host and an optional port. A name in DNS has 253 characters at most. The host is stored with a grant."""

_LOOPBACK_IPV4 = ip_network("127.0.0.0/8")


class BadRedirect(ValueError):
    """A redirect URI that may not be registered. `str()` completes a sentence that begins with the URI."""


def check_redirect(uri: str) -> str:
    """Return `uri` if it may be registered. Raises BadRedirect.

    Allowed are https with any host, http with a loopback host, and the schemes of APP_SCHEMES. A code is therefore
    never sent to `javascript:`, `data:` or a file, nor unencrypted over a network.
    """
    if len(uri) > MAX_REDIRECT_LENGTH:
        raise BadRedirect(f"is longer than {MAX_REDIRECT_LENGTH} characters")
    if _UNSAFE.search(uri):
        raise BadRedirect("contains a fragment, a space, a backslash or another character that is not allowed")
    parts = _split(uri)
    if ".." in unquote(unquote(parts.path)).split("/") or "." in unquote(unquote(parts.path)).split("/"):
        raise BadRedirect("has dot segments in its path")
    if parts.scheme in APP_SCHEMES:
        return uri
    if parts.scheme not in ("https", "http"):
        raise BadRedirect("must begin with https://, or with http:// for this computer")
    if not _AUTHORITY.fullmatch(parts.netloc):
        raise BadRedirect("names a user, or its host in a form that is not allowed")
    if parts.scheme == "http" and not is_loopback_host(parts.hostname or ""):
        raise BadRedirect("must begin with https://: plain http is for localhost, 127.0.0.1 and [::1] only")
    return uri


def is_loopback(uri: str) -> bool:
    """Return whether a redirect URI is plain http with a loopback host: a program on the person's own computer."""
    parts = _split(uri)
    return parts.scheme == "http" and is_loopback_host(parts.hostname or "")


def matches(registered: str, given: str) -> bool:
    """Return whether `given` is the registered URI. The ports of loopback URIs may differ (RFC 8252, section 7.3).

    The same holds for the name `localhost`, which clients also use with a random port.
    """
    if registered == given:
        return True
    try:
        ours, theirs = _split(registered), _split(check_redirect(given))
    except BadRedirect:
        return False
    if not (is_loopback(registered) and is_loopback(given)):
        return False
    same_host = ours.hostname == theirs.hostname
    return same_host and (ours.path or "/") == (theirs.path or "/") and ours.query == theirs.query


def shown_host(uri: str) -> str:
    """Return the destination of a redirect URI for display: its host, or the scheme of an app."""
    parts = _split(uri)
    return f"{parts.scheme}:" if parts.scheme in APP_SCHEMES else parts.hostname or ""


def is_loopback_host(host: str) -> bool:
    """Return whether `host` is `localhost` or a loopback address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address == IPv6Address("::1") or address in _LOOPBACK_IPV4


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise BadRedirect("is not a URL") from None
    if not parts.scheme or not parts.netloc:
        raise BadRedirect("names no scheme or no host")
    return parts
