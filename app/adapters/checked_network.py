"""The network to the backend, checked: an answer is read from bytes that came after its request, and they are bounded.

httpcore uses a connection again although bytes wait on it, and takes them for the answer to the next request, which may
be another tenant's. They wait in five places: the parser, the plaintext of TLS, its ciphertext, anyio's queue and the
kernel. The first is checked when the answer ends, as nothing is parsed later; the others are checked in the step of the
event loop in which the next request is written. A connection on which anything waits is closed, and another one made.
Bytes that the backend sends after that step cannot be told from the answer.

httpcore also reads any number of interim answers before the final one.
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import httpcore
import httpx
from anyio.streams.tls import TLSStream

MOST_WIRE_BYTES = 6 * 1024 * 1024
"""Bytes of one exchange as they come, headers and framing included: a body of 4 MiB and half as much again."""

MOST_INTERIM_ANSWERS = 16
_STATUS_LINE = re.compile(rb"\nHTTP/\d\.\d (\d)")
_SPLIT_BYTES = len(b"\nHTTP/1.1 1") - 1
"""Bytes at the end of one part that may be the beginning of a status line."""

_BREAKS = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""Exceptions of a connection that breaks. httpcore lets some pass: `ssl.SSLError`, and EndOfStream in a write."""


class CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport, whose connections are used again only where nothing follows the answer."""

    def __init__(self, **options: Any) -> None:
        """Take the options of httpx's transport."""
        super().__init__(**options)
        create = self._pool.create_connection
        self._pool._network_backend = _MeteredBackend(self._pool._network_backend)  # noqa: SLF001 - httpx offers no other place for it
        self._pool.create_connection = lambda origin: _CheckedConnection(create(origin))  # type: ignore[method-assign]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer without its Location, which httpx would parse, and fail on, though it follows none."""
        return without_location(await super().handle_async_request(request))


def without_location(response: httpx.Response) -> httpx.Response:
    """Return `response` without the header that names another place to ask."""
    response.headers.pop("location", None)
    return response


class _CheckedConnection(httpcore.AsyncConnectionInterface):
    """A connection that closes instead of waiting for its next request where bytes follow an answer."""

    def __init__(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self._connection = connection

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        response = await self._connection.handle_async_request(request)
        response.stream = _CheckedStream(response.stream, self._connection)
        return response

    async def aclose(self) -> None:
        await self._connection.aclose()

    def info(self) -> str:
        return self._connection.info()

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        return self._connection.can_handle_request(origin)

    def is_available(self) -> bool:
        return self._connection.is_available()

    def has_expired(self) -> bool:
        return self._connection.has_expired()

    def is_idle(self) -> bool:
        return self._connection.is_idle()

    def is_closed(self) -> bool:
        return self._connection.is_closed()


class _CheckedStream:
    """The body of an answer. Closing it closes the connection as well if bytes are left in the parser."""

    def __init__(self, stream: Any, connection: Any) -> None:
        self._stream = stream
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        connection = self._connection
        while (inner := getattr(connection, "_connection", None)) is not None:  # behind tunnels and proxies
            connection = inner
        parser = connection._h11_state  # noqa: SLF001 - httpcore shows it nowhere else
        if parser.trailing_data[0]:
            parser.send_failed()  # httpcore then closes the connection, in the same step in which it would keep it
        await self._stream.aclose()


class _MeteredBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _MeteredStream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _MeteredStream(await self._backend.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


@contextmanager
def _breaking_as(kind: type[Exception]) -> Iterator[None]:
    """Raise `kind`, an exception of httpcore's, in place of those by which the layers below say that it broke."""
    try:
        yield
    except _BREAKS as exc:
        raise kind(type(exc).__name__) from exc


class _MeteredStream(httpcore.AsyncNetworkStream):
    """A stream that breaks where one exchange brings too many bytes, or too many interim answers.

    A request is written to a used connection only while no byte waits on it.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._bytes = 0
        self._interim_answers = _InterimAnswers()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _breaking_as(httpcore.ReadError):
            data: bytes = await self._stream.read(max_bytes, timeout)
        self._bytes += len(data)
        if self._bytes > MOST_WIRE_BYTES or self._interim_answers.counted(data) > MOST_INTERIM_ANSWERS:
            raise httpcore.ReadError("the answer is longer than any")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._bytes:  # the first write after an answer begins the next exchange
            if self._has_bytes_waiting():
                # The pool closes this connection and takes another; nothing of the request was written yet.
                raise httpcore.ConnectionNotAvailable
            self._bytes, self._interim_answers = 0, _InterimAnswers()
        with _breaking_as(httpcore.WriteError):
            await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        with suppress(*_BREAKS):  # the connection is gone, and an answer that was read whole stays one
            await self._stream.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        with _breaking_as(httpcore.ConnectError):
            return _MeteredStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _has_bytes_waiting(self) -> bool:
        """Return whether anything can be read, or the connection ended; True as well for a stream of another make."""
        layer = getattr(self._stream, "_stream", None)
        while isinstance(layer, TLSStream):
            if layer._ssl_object.pending() or layer._read_bio.pending:  # noqa: SLF001 - anyio shows them nowhere else
                return True
            layer = layer.transport_stream
        protocol = getattr(layer, "_protocol", None)
        return protocol is None or bool(protocol.read_queue) or bool(self._stream.get_extra_info("is_readable"))


class _InterimAnswers:
    """Counts the interim answers (1xx) before the final one of an exchange; a body may look like any number of them."""

    def __init__(self) -> None:
        self._count = 0
        self._rest: bytes | None = b"\n"  # a status line begins a line; None behind the final one

    def counted(self, data: bytes) -> int:
        """Return how many there were, up to the end of `data`."""
        if self._rest is None:
            return self._count
        text = self._rest + data
        for line in _STATUS_LINE.finditer(text):
            if line[1] != b"1":
                self._rest = None
                return self._count
            self._count += 1
        self._rest = text[-_SPLIT_BYTES:]
        return self._count
