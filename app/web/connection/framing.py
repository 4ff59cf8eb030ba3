"""Checks of a request's head: a message whose end two HTTP parsers could see in different places is refused.

A proxy in front sends the requests of many callers over one connection. A body that this service took for shorter than
the proxy did would become the head of another caller's request (RFC 9112, section 11.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from app.web.json_rpc import refusal

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
"""The others that the parser takes are CONNECT, which has no body, and those of WebDAV, RTSP and ICE."""

MOST_HEAD_BYTES = 32 * 1024
MOST_HEADERS = 100
MOST_TARGET_BYTES = 4 * 1024
"""Callbacks have the longest of the URLs that are answered here, about 300 bytes."""

MOST_TRAILER_BYTES = 2 * 1024
"""Chunk extensions and trailers between two parts of a body, which nothing here reads."""

MOST_BODY_PARTS = 10_000
"""Chunks of one body: each costs time, however short it is. A body of the greatest length comes in 200 packets."""

NO_TRAILERS = frozenset((
    b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding",
    b"upgrade",
))  # fmt: skip
"""Fields that may not follow a body (RFC 9110, section 6.5.1): the parser would heed some of them."""

Headers = Sequence[tuple[bytes, bytes]]


class BadMessage(Exception):
    """A request that is refused before it reaches the application; the connection ends behind the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Answer with `status`; `code` is for programs and `message` for people."""
        super().__init__(message)
        self.status = status
        self.code = code

    def response(self) -> bytes:
        """Return the whole HTTP response."""
        body = refusal(self.code, str(self))
        lines = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *(("retry-after: 5",) if self.status == HTTPStatus.SERVICE_UNAVAILABLE else ()),
            "connection: close",
            "\r\n",
        )
        return "\r\n".join(lines).encode() + body


def malformed(message: str) -> BadMessage:
    """Return the refusal of a request that is not well-formed HTTP."""
    return BadMessage(HTTPStatus.BAD_REQUEST, "bad_request", message)


def head_too_large() -> BadMessage:
    """Return the refusal of a head that is too long or has too many headers."""
    message = f"The headers are limited to {MOST_HEAD_BYTES} bytes and {MOST_HEADERS} lines."
    return BadMessage(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)


def target_too_long() -> BadMessage:
    """Return the refusal of a long URL."""
    return BadMessage(HTTPStatus.REQUEST_URI_TOO_LONG, "url_too_long", f"URLs have at most {MOST_TARGET_BYTES} bytes.")


def too_slow() -> BadMessage:
    """Return the refusal of a request whose rest did not come."""
    return BadMessage(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request did not arrive in time.")


def overloaded(message: str) -> BadMessage:
    """Return the refusal of a request that finds no place."""
    return BadMessage(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", message)


@dataclass(frozen=True, slots=True)
class Head:
    """The start line and the headers of a request, with names in lower case."""

    method: bytes
    target: bytes
    version: str
    headers: Headers


def check_head(head: Head) -> None:
    """Raise BadMessage for a head that another parser may read in another way."""
    if head.method not in METHODS:
        raise BadMessage(HTTPStatus.NOT_IMPLEMENTED, "method_unknown", "This service does not know the method.")
    if head.version not in ("1.1", "1.0"):
        raise BadMessage(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "version_unknown", "Send HTTP/1.1.")
    names = [name for name, _ in head.headers]
    hosts = names.count(b"host")
    if hosts > 1 or (hosts == 0 and head.version == "1.1"):
        raise malformed("Send exactly one Host header.")
    if names.count(b"authorization") > 1:
        raise malformed("Send one Authorization header only.")
    if b"transfer-encoding" in names:
        _check_coding(head, names)
    if not head.target.startswith(b"/"):
        _check_target(head)
    if b"%" in head.target and not unquote_to_bytes(head.target).isascii():
        raise BadMessage(
            HTTPStatus.NOT_FOUND, "not_found", "There is nothing here: no URL of this service is beyond ASCII."
        )


def _check_coding(head: Head, names: Sequence[bytes]) -> None:
    """Accept `chunked` alone, over HTTP/1.1, without a length beside it; the parser takes `gzip, chunked` too."""
    codings = [value.strip(b" \t").lower() for name, value in head.headers if name == b"transfer-encoding"]
    if head.version == "1.0" or b"content-length" in names or len(codings) > 1:
        raise malformed("Transfer-Encoding is for HTTP/1.1, once, and without a Content-Length.")
    if codings != [b"chunked"]:
        raise BadMessage(HTTPStatus.NOT_IMPLEMENTED, "coding_unknown", "The only Transfer-Encoding here is chunked.")


def _check_target(head: Head) -> None:
    """Accept an absolute URL where its authority is the Host, for a proxy may have routed by either."""
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    scheme, _, rest = head.target.lower().partition(b"://")
    host = next((value for name, value in head.headers if name == b"host"), b"").strip(b" \t").lower()
    if scheme not in (b"http", b"https") or not host or not rest.startswith(host + b"/"):
        raise malformed("The request target must be a path, or a URL whose host is that of the Host header.")


def length_behind_upgrade(headers: Headers) -> int:
    """Return the length of the body behind a head that offers an upgrade. Raises BadMessage where it is not certain.

    RFC 9110, section 7.8: a server that does not take the offer answers as if it had not been made.
    """
    lengths = [value.strip(b" \t") for name, value in headers if name == b"content-length"]
    if any(name == b"transfer-encoding" for name, _ in headers):
        raise malformed("A request with an Upgrade header must state its Content-Length: no protocol is changed here.")
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise malformed("Send one Content-Length header.")
    return int(lengths[0])
