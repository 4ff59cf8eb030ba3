"""Validates Redis URLs. An ambiguous URL is refused, because a part of its password could be taken for the host."""

import re
from urllib.parse import SplitResult, urlsplit

URL_FORMS = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///run/redis.sock, "
    "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379 "
    "(rediss+sentinel and rediss+cluster with TLS)"
)
HOW_TO_ENCODE = (
    "Percent-encode signs in the user name and the password: # is %23, / is %2F, ? is %3F, : is %3A, @ is %40 and "
    "% is %25"
)

_HOST = re.compile(r"([\w.-]+|\[[0-9A-Za-z:.%]+\])(:\d{1,5})?")
_DATABASE = re.compile(r"/?\d*")


def check_redis_url(url: str) -> None:
    """Raise ValueError if `url` contains #, an option without a value, or a malformed address.

    Neither the scheme nor the names of options are checked.
    """
    parts = urlsplit(url)
    has_option_without_value = any("=" not in option for option in parts.query.split("&") if option)
    if "#" in url or has_option_without_value or not _has_valid_address(parts):
        raise ValueError


def _has_valid_address(parts: SplitResult) -> bool:
    hosts = parts.netloc.rpartition("@")[2]
    if parts.scheme == "unix":
        return hosts == ""
    if not all(_HOST.fullmatch(host) for host in hosts.split(",") if host) or "@" in parts.path:
        return False
    return parts.scheme not in ("redis", "rediss") or _DATABASE.fullmatch(parts.path) is not None


def invalid_url_reason(url: str) -> str:
    """Return why `url` is invalid. The text completes a sentence about the URL, and quotes no part of it."""
    return f"is none of {URL_FORMS}" + (f". {HOW_TO_ENCODE}" if _has_unencoded_delimiter(url) else "")


def _has_unencoded_delimiter(url: str) -> bool:
    """Return whether the user name or the password, before the last `@`, contains #, / or ?, which would end it."""
    credentials = url.partition("://")[2].rpartition("@")[0]
    return any(delimiter in credentials for delimiter in "#/?")
