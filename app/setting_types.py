"""The types of settings: what each kind of value may look like, and what is made of it. Each refusal is a sentence."""

import json
import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

SHORTEST_KEY_BYTES = 32
FEWEST_CHARACTERS = 8
"""Different characters of a secret key; a random one of 32 bytes has about 20 and more."""

HOW_TO_MAKE_A_KEY = "Make one with `openssl rand -base64 48` and give every worker and replica the same."
LONGEST_SECONDS = 10 * 365 * 24 * 3600.0

_EXAMPLES = ("replace-me", "change-me", "changeme", "example")
_HOST = re.compile(r"\*|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(\d{1,5}|\*))?")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def _listed(value: Any) -> Any:
    """Return the items of a list, written with commas or as JSON."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("[") or _HOST.fullmatch(value.split(",")[0].strip()):  # an IPv6 host
        return tuple(item.strip() for item in value.split(",") if item.strip())
    try:
        items = json.loads(value)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("must be a list such as a,b or a JSON list of strings")
    return tuple(item.strip() for item in items if item.strip())


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    for host in value:
        if not _HOST.fullmatch(host):
            raise ValueError(
                "must list hosts as the Host header has them, such as luma.example.com or localhost:*, without "
                "https:// or a path; a `*` stands for a port or for everything, not for a part of a name"
            )
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        scheme, _, host = origin.partition("://")
        if origin != "*" and (scheme not in ("http", "https") or not _HOST.fullmatch(host) or host == "*"):
            raise ValueError("must list origins such as https://app.example.com or http://localhost:*, without a path")
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(item if item == "*" else str(ip_network(item, strict=False)) for item in value)
    except ValueError:
        raise ValueError("must list IP addresses or networks such as 10.0.0.0/8, or be *") from None


def _http_url(value: str) -> str:
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
        raise ValueError("must hold no user name or password: they would be shown, or sent in place of callers' tokens")
    if parts.query or parts.fragment:
        raise ValueError("must end with its path, without ? or #")
    return urlunsplit((parts.scheme, _netloc(parts), parts.path.rstrip("/"), "", ""))


def _netloc(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else _in_ascii(parts.hostname or "")
    return host if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{parts.port}"


def _in_ascii(host: str) -> str:
    """Return the form of a host that the Host header and callers' URLs have: xn--bcher-kva.example, not bücher.example.

    Names that two versions of IDNA spell differently, such as those with ß, must be written in that form.
    """
    if host.isascii():
        return host
    try:
        encoded = host.encode("idna")
        if encoded.decode("idna") == host:
            return encoded.decode()
    except UnicodeError:
        pass
    raise ValueError("must name its host in ASCII, as DNS has it: in the form that begins with xn--")


def _public_url(value: str) -> str:
    """Return the URL without the /mcp that people copy with it."""
    return _http_url(value).removesuffix("/mcp")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its name or address; names are not resolved."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address == ip_address("::1") or address in ip_network("127.0.0.0/8")


def _secrets(value: Any) -> Any:
    """Return the secret keys in a list; a key that holds commas must be written in JSON."""
    if isinstance(value, str) and len(items := _listed(value)) > 1 and any(_is_short(item) for item in items):
        raise ValueError(
            f"must list keys of at least {SHORTEST_KEY_BYTES} bytes: commas separate them. Write one key that holds "
            'commas as ["the key"]'
        )
    return _listed(value)


def _is_short(key: str) -> bool:
    return len(key.encode()) < SHORTEST_KEY_BYTES


def _strong(value: SecretStr) -> SecretStr:
    key = value.get_secret_value()
    if _is_short(key):
        raise ValueError(f"must be at least {SHORTEST_KEY_BYTES} bytes. {HOW_TO_MAKE_A_KEY}")
    if len(set(key)) < FEWEST_CHARACTERS or key.lower().startswith(_EXAMPLES):
        raise ValueError(f"is an example or has too little variety to be secret. {HOW_TO_MAKE_A_KEY}")
    return value


def port_number(value: Any) -> Any:
    """Return a port that was written as text as a number."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Hosts = Annotated[Listed, AfterValidator(_hosts)]
Origins = Annotated[Listed, AfterValidator(_origins)]
Networks = Annotated[Listed, AfterValidator(_networks)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Key = Annotated[SecretStr, AfterValidator(_strong)]
Keys = Annotated[tuple[Key, ...], NoDecode, BeforeValidator(_secrets)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
