"""TLS connections whose handshake runs in a thread, so that no server can hold the event loop with its certificates.

OpenSSL decodes the public key of each certificate when it parses the server's message, before it verifies anything.
Decoding a key of 700 bytes takes 0.1 to 0.6 s if its curve has explicit parameters. OpenSSL has no option against such
keys, but Python releases the interpreter's lock during a handshake.
"""

import asyncio
import os
import ssl
import sys
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

MAX_HANDSHAKE_BYTES = 12 * 1024
"""Maximum number of bytes that a server sends before the handshake is done. Usual certificates have 3 to 7 KB."""

MAX_HANDSHAKE_READS = 100
"""Maximum number of reads before the handshake is done. After each read, a thread continues the handshake."""

STRANGERS_THREADS = 2
"""Concurrent handshakes with servers that callers name. Each may take seconds of processor time."""

PRIORITY = 10
"""The nice value of the threads for servers that callers name. The event loop gets ten times their processor time."""


def strangers_threads() -> Executor:
    """Return new threads for handshakes with servers that callers name. On Linux, they have a low priority."""
    initializer = _lower_priority if sys.platform == "linux" else None
    return ThreadPoolExecutor(STRANGERS_THREADS, "strangers-tls", initializer)


@cache
def configured_servers_threads() -> Executor:
    """Return the threads for handshakes with servers that the configuration names. All clients share them."""
    return ThreadPoolExecutor(4, "tls")


def _lower_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)


async def begin_tls(stream: ByteStream, context: ssl.SSLContext, hostname: str | None, threads: Executor) -> TLSStream:
    """Return a TLS connection over `stream`, to a server with a certificate for `hostname`.

    Raises ssl.SSLError if the handshake fails, and OSError and anyio's exceptions if the connection breaks or the
    server sends too much, or too little at a time.
    """
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(received, sent, server_hostname=hostname)
    remaining_bytes, remaining_reads, is_done = MAX_HANDSHAKE_BYTES, MAX_HANDSHAKE_READS, False
    while not is_done:
        try:
            await asyncio.get_running_loop().run_in_executor(threads, session.do_handshake)
            is_done = True
        except ssl.SSLWantReadError:
            pass
        if sent.pending:
            await stream.send(sent.read())
        if not is_done:
            data = await stream.receive()
            remaining_bytes -= len(data)
            remaining_reads -= 1
            if remaining_bytes < 0 or remaining_reads < 0:
                raise anyio.BrokenResourceError
            received.write(data)
    return TLSStream(
        transport_stream=stream, standard_compatible=False, _ssl_object=session, _read_bio=received, _write_bio=sent
    )
