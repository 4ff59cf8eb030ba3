"""An httpx transport that reads a response only from bytes that are received after its request, and limits its size.

httpcore reuses a connection even if it has unread bytes, and parses them as the response to the next request, which may
be another tenant's. Unread bytes can be in five places: the HTTP parser, TLS plaintext, TLS ciphertext, anyio's queue
and the kernel. The parser is checked when a response ends: an idle connection is not read, so nothing reaches the
parser afterwards. The other four are checked in the event loop step that writes the next request. A connection with
unread bytes is closed, and a new one is opened. Bytes that the backend sends after that step cannot be distinguished
from the response.

httpcore also accepts any number of interim (1xx) responses before the final one, and heads and trailers of 24,000 short
fields, which take 0.14 s of the event loop. This transport limits all of them.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import anyio
import httpcore
import httpx
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream
from httpcore._utils import is_socket_readable

from app.adapters.connection_pool import assign_requests
from app.adapters.resolving_network import Resolve, ResolvingBackend
from app.adapters.tls_handshake import begin_tls, configured_servers_threads

MAX_WIRE_BYTES = 6 * 1024 * 1024
"""Maximum number of bytes received for one request: a body of 4 MiB, and half as much for headers and framing."""

MAX_INTERIM_RESPONSES = 16
"""Maximum number of interim responses to one request."""

MAX_HEAD_LINES = 500
"""Maximum number of lines of a response's head and of the interim responses before it."""

MAX_TRAILER_LINES = 100
"""Maximum number of lines after the last chunk of a chunked body."""

_STATUS_LINE = re.compile(rb"\nHTTP/\d\.\d (\d)")
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_CHUNKED = re.compile(rb"\ntransfer-encoding[ \t]*:", re.IGNORECASE)
"""The parser accepts no other transfer coding than `chunked`."""
_PARTIAL_STATUS_LINE_BYTES = len(b"\nHTTP/1.1 1") - 1
"""Maximum number of bytes at the end of one read that may be the beginning of a status line."""

MAX_SIZE_LINE_BYTES = 1024
"""Maximum length, in bytes, of the line before a chunk: its size, and extensions that nothing uses."""

_CONNECTION_ERRORS = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""Exceptions of a broken connection. httpcore does not convert `ssl.SSLError`, nor EndOfStream in a write."""


class CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport, but a connection is reused only if no bytes follow the response, and responses are limited."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        max_connection_bytes: int | None = None,
        threads: Executor | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        **options: Any,
    ) -> None:
        """Take the options of `httpx.AsyncHTTPTransport`.

        `resolve` finds the addresses to connect to. With None, the event loop's pool of threads finds them, which is
        for hosts that an operator has named. `max_connection_bytes` limits the bytes that one connection receives,
        including those of TLS. It is meant for connections with one request. `threads` run TLS handshakes; None means
        the threads for servers that the configuration names. `network` replaces the network in tests.
        """
        super().__init__(**options)
        create = self._pool.create_connection
        backend = network or self._pool._network_backend  # noqa: SLF001 - httpx has no public option for it
        resolving = backend if resolve is None else ResolvingBackend(backend, resolve)
        self._pool._network_backend = _MeteredBackend(  # noqa: SLF001 - as above
            resolving, max_connection_bytes, threads or configured_servers_threads()
        )
        self._pool.create_connection = lambda origin: _CheckedConnection(create(origin))  # type: ignore[method-assign]
        self._pool._assign_requests_to_connections = partial(assign_requests, self._pool)  # type: ignore[method-assign]  # noqa: SLF001

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response without its Location. httpx parses it even if it follows no redirects, and may fail."""
        response = await super().handle_async_request(request)
        response.headers.pop("location", None)
        return response


class _CheckedConnection(httpcore.AsyncConnectionInterface):
    """A pooled connection that closes, instead of becoming idle, if bytes follow a response."""

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
    """The body of a response. Closing it closes the connection as well if unread bytes are left in the parser."""

    def __init__(self, stream: Any, connection: Any) -> None:
        self._stream = stream
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        connection = self._connection
        while (inner := getattr(connection, "_connection", None)) is not None:  # wrappers for tunnels and proxies
            connection = inner
        parser = connection._h11_state  # noqa: SLF001 - httpcore has no public access to it
        if parser.trailing_data[0]:
            parser.send_failed()  # makes httpcore close the connection instead of keeping it
        await self._stream.aclose()


class _MeteredBackend(httpcore.AsyncNetworkBackend):
    """A network backend of httpcore that wraps each connection in a `_MeteredStream`."""

    def __init__(
        self, backend: httpcore.AsyncNetworkBackend, max_connection_bytes: int | None, threads: Executor
    ) -> None:
        self._backend = backend
        self._max_connection_bytes = max_connection_bytes
        self._threads = threads

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream: Any = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        if self._max_connection_bytes is not None:  # wraps anyio's stream, below the TLS that start_tls adds
            stream._stream = _CountedSocket(stream._stream, self._max_connection_bytes)  # noqa: SLF001 - as above
        return _MeteredStream(stream, self._threads)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._backend.connect_unix_socket(path, timeout, socket_options)
        return _MeteredStream(stream, self._threads)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


class _CountedSocket(ByteStream):
    """A socket that fails when it has received more than a maximum number of bytes.

    A server may send thousands of TLS session tickets, each of which takes 10 microseconds of the event loop.
    """

    def __init__(self, socket: ByteStream, max_bytes: int) -> None:
        self._socket = socket
        self._remaining_bytes = max_bytes

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        data = await self._socket.receive(max_bytes)
        self._remaining_bytes -= len(data)
        if self._remaining_bytes < 0:
            raise anyio.BrokenResourceError
        return data

    async def send(self, item: bytes) -> None:
        await self._socket.send(item)

    async def send_eof(self) -> None:
        await self._socket.send_eof()

    async def aclose(self) -> None:
        await self._socket.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._socket.extra_attributes


@contextmanager
def _converted_to(error_class: type[Exception]) -> Iterator[None]:
    """Convert the exceptions of a broken connection to `error_class`, an exception of httpcore."""
    try:
        yield
    except _CONNECTION_ERRORS as exc:
        raise error_class(type(exc).__name__) from exc


class _MeteredStream(httpcore.AsyncNetworkStream):
    """A network stream that fails if a response has too many bytes or lines, or too many interim responses before it.

    The first write of a request, its head, is sent together with the second one, which httpcore makes even if the
    request has no body. Before it is sent, ConnectionNotAvailable is raised if unread bytes are left.
    """

    def __init__(self, stream: Any, threads: Executor) -> None:
        """Wrap httpcore's `stream`. `threads` run the TLS handshake."""
        self._stream = stream
        self._threads = threads
        self._socket = stream.get_extra_info("socket")
        self._is_between_requests = True
        self._unsent_head = b""
        self._received_bytes = 0
        self._head = _HeadMeter()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _converted_to(httpcore.ReadError):
            data: bytes = await self._stream.read(max_bytes, timeout)
        self._is_between_requests = True  # httpcore reads when it has written the whole request
        self._received_bytes += len(data)
        if self._received_bytes > MAX_WIRE_BYTES or not self._head.admit(data):
            raise httpcore.ReadError(
                "the response, head or trailer is too long, or too many interim responses precede it"
            )
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._is_between_requests:
            self._is_between_requests, self._unsent_head = False, buffer
            return
        if self._unsent_head:
            if self._received_bytes and self._has_unread_bytes():
                # The pool then closes this connection and uses another one. No byte of the request was written yet.
                raise httpcore.ConnectionNotAvailable
            self._received_bytes, self._head = 0, _HeadMeter()
            buffer, self._unsent_head = self._unsent_head + buffer, b""
        with _converted_to(httpcore.WriteError):
            await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        with suppress(*_CONNECTION_ERRORS):  # a response that was read completely stays valid
            await self._stream.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        stream = self._stream
        try:
            async with asyncio.timeout(timeout):
                with _converted_to(httpcore.ConnectError):  # httpcore's own start_tls would use the event loop
                    stream._stream = await begin_tls(stream._stream, ssl_context, server_hostname, self._threads)  # noqa: SLF001
        except BaseException as exc:
            await self.aclose()
            if isinstance(exc, TimeoutError):
                raise httpcore.ConnectTimeout("the TLS handshake was not done in time") from None
            raise
        return _MeteredStream(self._stream, self._threads)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked for twice by each request, and anyio takes 30 microseconds to find the socket
            return is_socket_readable(self._socket)
        return self._stream.get_extra_info(info)

    def _has_unread_bytes(self) -> bool:
        """Return whether bytes can be read or the connection has ended; True also for an unknown kind of stream."""
        layer = getattr(self._stream, "_stream", None)
        while isinstance(layer, TLSStream):
            if layer._ssl_object.pending() or layer._read_bio.pending:  # noqa: SLF001 - anyio has no public access
                return True
            layer = layer.transport_stream
        protocol = getattr(layer, "_protocol", None)
        return protocol is None or bool(protocol.read_queue) or is_socket_readable(self._socket)


class _HeadMeter:
    """Counts the interim (1xx) responses, the lines up to the end of the final head, and the lines of a trailer.

    Bodies are not counted, because they may contain similar lines.
    """

    def __init__(self) -> None:
        self._interim_responses = self._lines = 0
        self._saw_final_status = self._head_ended = False
        self._head = bytearray()
        self._trailer: _TrailerMeter | None = None
        self._tail = b"\n"
        """The last bytes of the previous read, which may be the beginning of a status line."""

    def admit(self, data: bytes) -> bool:
        """Count `data`, the next bytes received, and return whether the limits allow it."""
        if self._head_ended:
            return self._trailer is None or self._trailer.admit(data)
        text, head_from = self._tail + data, 0
        for line in () if self._saw_final_status else _STATUS_LINE.finditer(text):
            if line[1] != b"1":
                self._saw_final_status, head_from = True, line.end()
                break
            self._interim_responses += 1
        end = _END_OF_HEAD.search(text, head_from) if self._saw_final_status else None
        self._head_ended = end is not None
        body_from = end.end() if end is not None else len(text)
        self._lines += text.count(b"\n", len(self._tail), body_from)
        self._head += text[len(self._tail) : body_from]
        is_within_limits = self._interim_responses <= MAX_INTERIM_RESPONSES and self._lines <= MAX_HEAD_LINES
        if end is not None and _CHUNKED.search(self._head):
            self._trailer = _TrailerMeter()
            is_within_limits = is_within_limits and self._trailer.admit(text[body_from:])
        self._tail = text[-_PARTIAL_STATUS_LINE_BYTES:]
        return is_within_limits


class _TrailerMeter:
    """Counts the lines after the last chunk of a chunked body (RFC 9112, section 7.1)."""

    def __init__(self) -> None:
        self._size_line = b""
        """The beginning of a line with the size of a chunk."""
        self._remaining_bytes = 0
        """Number of bytes that are still to come of a chunk and of the line end behind it."""
        self._trailer_lines: int | None = None
        """None before the last chunk."""

    def admit(self, data: bytes) -> bool:
        """Count `data`, the next bytes received. Return whether they are chunks, and the limits allow them."""
        position = 0
        while self._trailer_lines is None:
            skipped = min(self._remaining_bytes, len(data) - position)
            self._remaining_bytes -= skipped
            position += skipped
            if position == len(data):
                return True
            end = data.find(b"\n", position)
            self._size_line += data[position : end if end >= 0 else len(data)]
            if len(self._size_line) > MAX_SIZE_LINE_BYTES:
                return False
            if end < 0:
                return True
            position = end + 1
            if not self._begin_chunk():
                return False
        self._trailer_lines += data.count(b"\n", position)
        return self._trailer_lines <= MAX_TRAILER_LINES

    def _begin_chunk(self) -> bool:
        """Read the size of a chunk from its line, and return whether it is a valid one."""
        try:
            size = int(self._size_line.partition(b";")[0], 16)
        except ValueError:
            return False
        self._size_line, self._remaining_bytes = b"", size + len(b"\r\n")
        if size == 0:
            self._trailer_lines = 0
        return size >= 0
