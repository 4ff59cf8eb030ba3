"""Checks of a request's head against request smuggling (RFC 9112, section 11.2).

A reverse proxy sends the requests of many callers over one connection. If this service read fewer bytes of a body than
the proxy sent, it would read the rest as the head of another caller's request. A message that two HTTP parsers could
delimit differently is therefore refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from app.web.json_rpc import refusal

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))
"""The accepted methods. The parser also accepts the methods of WebDAV and RTSP, and CONNECT, which has no body."""

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_TARGET_BYTES = 4 * 1024
"""The longest URLs of this service, those of callbacks, have about 300 bytes."""

MAX_TRAILER_BYTES = 2 * 1024
"""Limit for chunk extensions and trailers between two parts of a body. Their content is ignored."""

MAX_BODY_PARTS = 4_000
"""Limit of chunks in one body. A chunk of any length costs 2 to 6 microseconds. The longest body takes 200 packets."""

NO_TRAILERS = frozenset((
    b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding",
    b"upgrade",
))  # fmt: skip
"""Header fields that are not allowed as trailers (RFC 9110, section 6.5.1). The parser would act on some of them."""

Headers = Sequence[tuple[bytes, bytes]]


class BadMessage(Exception):
    """A request that is refused before it reaches the application. The connection is closed after the response."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """`status` is that of the response. `code` is a word for programs, and `message` is a sentence for people."""
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
    """Return the refusal, with 400, of a request that is not well-formed HTTP."""
    return BadMessage(HTTPStatus.BAD_REQUEST, "bad_request", message)


def head_too_large() -> BadMessage:
    """Return the refusal, with 431, of a head that is too long or has too many headers."""
    message = f"The headers are limited to {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} lines."
    return BadMessage(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message)


def target_too_long() -> BadMessage:
    """Return the refusal, with 414, of a URL longer than MAX_TARGET_BYTES."""
    return BadMessage(HTTPStatus.REQUEST_URI_TOO_LONG, "url_too_long", f"URLs have at most {MAX_TARGET_BYTES} bytes.")


def too_slow() -> BadMessage:
    """Return the refusal, with 408, of a request that did not arrive in time."""
    return BadMessage(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "The request did not arrive in time.")


def overloaded(message: str) -> BadMessage:
    """Return the refusal, with 503, of a request that exceeds a limit of the connection or of the process."""
    return BadMessage(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", message)


@dataclass(frozen=True, slots=True)
class Head:
    """The request line and the headers of a request. Header names are in lower case."""

    method: bytes
    target: bytes
    version: str
    headers: Headers


def check_head(head: Head) -> None:
    """Raise BadMessage if the head is not accepted, or if another parser may read it differently."""
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
            HTTPStatus.NOT_FOUND, "not_found", "There is nothing here: the URLs of this service are ASCII only."
        )


def _check_coding(head: Head, names: Sequence[bytes]) -> None:
    """Check that Transfer-Encoding is `chunked`, once, over HTTP/1.1 and without Content-Length. Raises BadMessage.

    The parser also accepts `gzip, chunked`.
    """
    codings = [value.strip(b" \t").lower() for name, value in head.headers if name == b"transfer-encoding"]
    if head.version == "1.0" or b"content-length" in names or len(codings) > 1:
        raise malformed("Transfer-Encoding is for HTTP/1.1, once, and without a Content-Length.")
    if codings != [b"chunked"]:
        raise BadMessage(HTTPStatus.NOT_IMPLEMENTED, "coding_unknown", "The only Transfer-Encoding here is chunked.")


def _check_target(head: Head) -> None:
    """Check a target that is not a path: `*` for OPTIONS, or a URL whose authority equals the Host header.

    Raises BadMessage. The two must be equal because a proxy may have routed by either.
    """
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    scheme, _, after_scheme = head.target.lower().partition(b"://")
    host = next((value for name, value in head.headers if name == b"host"), b"").strip(b" \t").lower()
    if scheme not in (b"http", b"https") or not host or not after_scheme.startswith(host + b"/"):
        raise malformed("The request target must be a path, or a URL whose host is that of the Host header.")


def body_length_after_upgrade(headers: Headers) -> int:
    """Return the length in bytes of the body after a head with an Upgrade header.

    A server that does not upgrade ignores the header (RFC 9110, section 7.8). Raises BadMessage if the length is
    ambiguous.
    """
    lengths = [value.strip(b" \t") for name, value in headers if name == b"content-length"]
    if any(name == b"transfer-encoding" for name, _ in headers):
        raise malformed("A request with an Upgrade header must state its Content-Length: upgrades are not served here.")
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise malformed("Send one Content-Length header.")
    return int(lengths[0])
