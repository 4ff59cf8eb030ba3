"""The types of settings: validators that check a value and normalise it.

The message of each ValueError is the end of a sentence that begins with the variable's name.
"""

import json
import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

MIN_KEY_BYTES = 32
MIN_DISTINCT_CHARACTERS = 8
"""Distinct characters that a secret key needs; a random key of 32 bytes has 20 or more."""

AUTHENTICATION_METHODS = ("passthrough", "keys", "jwt")

HOW_TO_MAKE_A_KEY = "Make one with `openssl rand -base64 48` and give every worker and replica the same."
MAX_SECONDS = 10 * 365 * 24 * 3600.0
"""Ten years."""

MAX_PORT = 65_535

_NAME = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
"""Names of claims, audiences and scopes (RFC 6749, 3.3); some are URLs."""

_EXAMPLE_KEYS = ("replace-me", "change-me", "changeme", "example")
_HOST = re.compile(r"\*|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(\d{1,5}|\*))?")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def _parse_list(value: Any) -> Any:
    """Return the items of a list that is separated by commas, or written in JSON. Other types are returned as given."""
    if not isinstance(value, str):
        return value
    # A value that begins with "[" is JSON, unless its first item is an IPv6 host in brackets.
    if not value.lstrip().startswith("[") or _HOST.fullmatch(value.split(",")[0].strip()):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    try:
        items = json.loads(value)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("must be a list such as a,b or a JSON list of strings")
    return tuple(item.strip() for item in items if item.strip())


def _check_hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    for host in value:
        if not _HOST.fullmatch(host):
            raise ValueError(
                "must list hosts as the Host header has them, such as luma.example.com or localhost:*, without "
                "https:// or a path; a `*` stands for any port or for everything, not for a part of a name"
            )
    return value


def _check_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        scheme, _, host = origin.partition("://")
        if origin != "*" and (scheme not in ("http", "https") or not _HOST.fullmatch(host) or host == "*"):
            raise ValueError("must list origins such as https://app.example.com or http://localhost:*, without a path")
    return value


def _normalise_networks(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(item if item == "*" else str(ip_network(item, strict=False)) for item in value)
    except ValueError:
        raise ValueError("must list IP addresses or networks such as 10.0.0.0/8, or be *") from None


def _normalise_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL such as https://luma.example.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must begin with https://, because tokens are sent there; plain http is for loopback only")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "must hold no user name or password: they would appear in links and logs, or be sent instead of callers' "
            "tokens"
        )
    if parts.query or parts.fragment:
        raise ValueError("must end with its path, without a query or fragment (? or #)")
    return urlunsplit((parts.scheme, _netloc(parts), parts.path.rstrip("/"), "", ""))


def _check_issuer(value: str) -> str:
    """Check a URL, and return it unchanged: tokens name their issuer in the very same spelling, slash included."""
    _normalise_url(value)
    return value


def _check_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError('must have 1 to 200 visible ASCII characters, without blanks, " and \\')
    return value


def _check_names(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_check_name, values))


def _netloc(parts: SplitResult) -> str:
    """Return the host in its ASCII form, and the port unless it is the default one."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else _to_ascii(parts.hostname or "")
    return host if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{parts.port}"


def _to_ascii(host: str) -> str:
    """Return the ASCII form of a host, as the Host header has it: xn--bcher-kva.example for bücher.example.

    Raises ValueError for a name that IDNA 2003 and 2008 encode differently, such as one with ß.
    """
    if host.isascii():
        return host
    try:
        encoded = host.encode("idna")
        if encoded.decode("idna") == host:
            return encoded.decode()
    except UnicodeError:
        pass
    raise ValueError("must name its host in ASCII, as DNS does: in the form that begins with xn--")


def _normalise_public_url(value: str) -> str:
    """Return the URL without a trailing /mcp, which people copy from the endpoint's URL."""
    return _normalise_url(value).removesuffix("/mcp")


def is_loopback(host: str) -> bool:
    """Return whether a host is `localhost` or a loopback address. Other names are not resolved."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address == ip_address("::1") or address in ip_network("127.0.0.0/8")


def _parse_secret_keys(value: Any) -> Any:
    """Return the secret keys in a list. A list with a key that holds commas must be written in JSON."""
    if isinstance(value, str) and len(items := _parse_list(value)) > 1 and any(_is_short(item) for item in items):
        raise ValueError(
            f"must list keys of at least {MIN_KEY_BYTES} bytes: commas separate them. Write one key that holds "
            'commas as ["the key"]'
        )
    return _parse_list(value)


def _is_short(key: str) -> bool:
    return len(key.encode()) < MIN_KEY_BYTES


def _check_key_strength(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if _is_short(key):
        raise ValueError(f"must be at least {MIN_KEY_BYTES} bytes. {HOW_TO_MAKE_A_KEY}")
    if len(set(key)) < MIN_DISTINCT_CHARACTERS or key.lower().startswith(_EXAMPLE_KEYS):
        raise ValueError(f"is an example or has too little variety to be secret. {HOW_TO_MAKE_A_KEY}")
    return value


def _switch_or_port(value: Any) -> Any:
    """Return "on", "off", or the number of a port, which the environment has as text."""
    if value in ("on", "off"):
        return value
    if not str(value).isdecimal() or not 1 <= int(value) <= MAX_PORT:
        raise ValueError(f"must be on, off, or a port number from 1 to {MAX_PORT}")
    return int(value)


def _check_authentication_methods(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or not set(values) <= set(AUTHENTICATION_METHODS):
        raise ValueError(f"must list authentication methods, separated by commas: {', '.join(AUTHENTICATION_METHODS)}")
    return values


Strings = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_list)]
Hosts = Annotated[Strings, AfterValidator(_check_hosts)]
Origins = Annotated[Strings, AfterValidator(_check_origins)]
Networks = Annotated[Strings, AfterValidator(_normalise_networks)]
Names = Annotated[Strings, AfterValidator(_check_names)]
Name = Annotated[str, AfterValidator(_check_name)]
IssuerUrl = Annotated[str, AfterValidator(_check_issuer)]
HttpUrl = Annotated[str, AfterValidator(_normalise_url)]
PublicUrl = Annotated[str, AfterValidator(_normalise_public_url)]
SecretKey = Annotated[SecretStr, AfterValidator(_check_key_strength)]
SecretKeys = Annotated[tuple[SecretKey, ...], NoDecode, BeforeValidator(_parse_secret_keys)]
AuthenticationMethods = Annotated[Strings, AfterValidator(_check_authentication_methods)]
SwitchOrPort = Annotated[Literal["on", "off"] | int, BeforeValidator(_switch_or_port)]
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]
