"""Connections to Redis: the timeout of operations, and reconnecting after a failover."""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from types import NoneType
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio.client import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, InvalidResponse, ResponseError

from app.adapters.redis.command_queue import CommandQueue
from app.adapters.redis.scripts import READ
from app.adapters.redis.topology import ClusterTopology
from app.adapters.redis.wire import ReplyLimit, ReplyTooLarge, limited_replies
from app.ports.store import StoreOverfull, StoreRefuses, StoreUnavailable
from app.services.log_throttle import LogThrottle

if TYPE_CHECKING:
    from redis.asyncio.cluster import RedisCluster

TIMEOUT_SECONDS = 0.4
"""Default of the timeout of an operation.

A tool call may make a read and a write, which together must take less than a second.
"""

RECONNECT_INTERVAL_SECONDS = 1.0
"""Shortest time between two reconnects while Redis replies with a code of NOT_SERVING."""

NOT_SERVING = frozenset({"READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "LOADING", "NOREPLICAS"})
"""Error codes of a server that is no longer the master, or cannot serve now.

After a failover behind a single address, existing connections are still connected to the old master.
"""

BAD_CERTIFICATE = "its certificate is not for this host, or of no trusted authority: name one with ssl_ca_certs"
EXPIRED_CERTIFICATE = "its certificate has expired: renew it"
"""Failures of a TLS handshake, as parts of sentences for the operator. `ssl_ca_certs` is a parameter of the URL."""

_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""

DENIED = "NOPERM"
"""Error code if the user has no ACL permission for a command, key or channel."""

NO_PASSWORD, BAD_PASSWORD = "NOAUTH", "WRONGPASS"
"""Error codes of a server that wants a password, and of one that does not accept the user or the password."""

_ERROR_CODE = re.compile(r"(?:^|caused error: \('?|@user_script:\s?\d+: -)([A-Z]{2,20}) ")
"""The code in an error's text: at the start, after a command of a pipeline, or after the line number of a script."""

_DENIED_IN_SCRIPT = ("ACL failure in script", "The user executing the script can't")
"""Texts of Redis 7 and 6 for a command in a script that the user may not run. Their code is ERR."""

_VALUE_TYPES = frozenset({bytes, NoneType})

_COMMAND = re.compile(r"'([a-zA-Z|]{1,32})' command")
"""The command in the text of a NOPERM error."""

log = logging.getLogger(__name__)


class RedisConnection:
    """A Redis client with a concurrency limit and a timeout, which reconnects if the server cannot serve."""

    def __init__(self, client: "Redis | RedisCluster", timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Own `client`, which `aclose` closes. Each operation may take `timeout_seconds`."""
        self.client = client
        self._timeout_seconds = timeout_seconds
        self.reconnects = 0
        """Number of reconnects. Subscriptions that are older than the last reconnect must be reopened."""
        self._is_stale = False
        """Whether the server could not serve, and no reconnect has followed yet."""
        self._next_reconnect_at = 0.0
        self._not_serving_log, self._denied_log, self._busy_log = (LogThrottle(_loop_time) for _ in range(3))
        self.queue = CommandQueue(self._log_busy)
        """The places of operations. `operation` takes one by itself."""
        self._topology = None if isinstance(client, Redis) else ClusterTopology(client)
        self._count_failure: Callable[[str], None] = lambda _kind: None

    def report_to(self, count_failure: Callable[[str], None]) -> None:
        """Call `count_failure` with the kind of each failure that only this class can detect.

        Kinds: "denied" (an ACL permission is missing), "channel" (the subscription failed), "busy" (the queue is full
        or slow), "too_large" (the replies are larger than allowed).
        """
        self._count_failure = count_failure

    def on_channel_error(self, exc: BaseException) -> None:
        """Count that the subscription failed, and log it if Redis refused it."""
        self._count_failure("channel")
        code = _code_of(exc)
        self._refresh_topology(code)
        if code and code not in NOT_SERVING:
            self._log_denial(code, exc)

    @property
    def database(self) -> int:
        """The number of the database; 0 for a Cluster."""
        if not isinstance(self.client, Redis):
            return 0
        return int(self.client.connection_pool.connection_kwargs.get("db") or 0)

    async def get_many(self, keys: Sequence[str], max_bytes: int) -> list[bytes | None]:
        """Return one value per key; None if there is none. Must be called inside `operation`.

        A value is b"" if it is larger than `max_bytes` or is not a string. Raises InvalidResponse for an unexpected
        reply.
        """
        return values_in(await cast("Any", self.client).eval(READ, len(keys), *keys, max_bytes), len(keys))

    @asynccontextmanager
    async def operation(
        self, tenant: str = "", *, may_be_denied: bool = False, limit: ReplyLimit | None = None
    ) -> AsyncIterator[None]:
        """Wait in the queue for an operation of `tenant`, and run the body within its timeout.

        Raises StoreBusy if the queue is full or slow, StoreOverfull if the replies together exceed `limit` (by default
        that of small replies), StoreRefuses if Redis replies with an error, and StoreUnavailable if Redis fails or
        times out. All exceptions of the body are converted. A missing permission is logged and counted, unless
        `may_be_denied`: the permission to read the keys of release 1.0 is optional.
        """
        async with (
            self.queue.place(tenant),
            self.attempt(may_be_denied=may_be_denied, limit=limit),
        ):
            yield

    @asynccontextmanager
    async def attempt(self, *, may_be_denied: bool = False, limit: ReplyLimit | None = None) -> AsyncIterator[None]:
        """Run the body, which is part of operations that hold their places, within the timeout.

        Raises what `operation` raises, but for StoreBusy.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                if self._is_stale:
                    await self._reconnect()
                if not isinstance(self.client, Redis):
                    await self.client.initialize()  # reads the list of commands, at first and after a failure
                with limited_replies(limit or ReplyLimit()):
                    yield
        except ReplyTooLarge as exc:
            self._count_failure("too_large")
            raise StoreOverfull from exc
        except Exception as exc:  # the client raises many types for replies of an unexpected form
            code = _code_of(exc)
            if code in NOT_SERVING:
                await self._reconnect_after(code)
            if code == DENIED and not may_be_denied:
                self._count_failure("denied")
                self._log_denial(code, exc)
            self._refresh_topology(code)
            raise (StoreRefuses if code else StoreUnavailable)(code or _fault_name(exc)) from exc

    async def aclose(self) -> None:
        """Close every connection."""
        if self._topology is not None:
            await self._topology.aclose()
        await self.client.aclose()

    def _refresh_topology(self, code: str) -> None:
        """Read the topology of a Cluster anew if an operation failed without a reply, and so without a `code`."""
        if self._topology is not None and not code:
            self._topology.refresh()

    async def _reconnect_after(self, code: str) -> None:
        self._is_stale = True
        self._log_not_serving(code)
        await self._reconnect()

    async def _reconnect(self) -> None:
        """Close idle connections now and the others after their use, but at most once a second.

        The next operations open new connections to the server that the address leads to now.
        """
        now = _loop_time()
        if now < self._next_reconnect_at:
            return
        self._next_reconnect_at, self._is_stale = now + RECONNECT_INTERVAL_SECONDS, False
        self.reconnects += 1
        if not isinstance(self.client, Redis):
            for node in self.client.get_nodes():
                node.update_active_connections_for_reconnect()
                await node.disconnect_free_connections()
            return
        pool: Any = self.client.connection_pool
        for idle in tuple(pool._available_connections):  # noqa: SLF001 - during the public method, others could use them
            await idle.disconnect(nowait=True)
        await pool.update_active_connections_for_reconnect()

    def _log_not_serving(self, code: str) -> None:
        """Log the first reply with a code of NOT_SERVING, and then at most one line a minute, with their number."""
        count = self._not_serving_log.count()
        if count is None:
            return
        log.warning(
            "Redis answered %s (%d times since the last such line): the server behind LUMA_MCP_REDIS_URL is not a "
            "master, or cannot serve now. Its connections are closed and opened again. Until a master answers, each "
            "process uses its own cache only. If this goes on, look at the failover of Redis",
            code,
            count,
        )

    def _log_busy(self, reason: str) -> None:
        self._count_failure("busy")
        if (count := self._busy_log.count()) is not None:
            log.warning(
                "This process has too many Redis operations (%s, %d times since the last such line): some cached "
                "results are read from the backend instead. Redis itself may be healthy. Run more replicas, or limit "
                "callers at the proxy",
                reason,
                count,
            )

    def _log_denial(self, code: str, exc: BaseException) -> None:
        """Log the first denial, and then at most one line a minute, with their number."""
        count = self._denied_log.count()
        if count is None:
            return
        command = _COMMAND.search(str(exc))
        log.warning(
            "Redis denies this service's user %s (%s, %d times since the last such line). Without all of the rights, "
            "replicas do not share tasks and callbacks, so waits end late and the backend is read more often. "
            "docs/redis.md lists the rights, and `luma-mcp check` tests them",
            f"the command {command[1].upper()}" if command is not None else "a command, key or channel",
            code,
            count,
        )


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _fault_name(exc: BaseException) -> str:
    """Return the type of a failure, or a sentence about a certificate that is not accepted."""
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return EXPIRED_CERTIFICATE if cause.verify_code == _EXPIRED else BAD_CERTIFICATE
    return type(exc).__name__


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield the exception, its cause, and so on."""
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _code_of(exc: BaseException) -> str:
    """Return the code of an error reply of Redis; "" for any other exception.

    The code is DENIED also for a command in a script that the user may not run, and BAD_PASSWORD also for a password
    that was sent to a server without one, which replies with ERR.
    """
    for cause in _causes(exc):  # the client of a Cluster raises its own exception
        if isinstance(cause, AuthenticationError):
            return NO_PASSWORD if cause.status_code == NO_PASSWORD else BAD_PASSWORD
    if not isinstance(exc, ResponseError | BusyLoadingError):
        return ""
    if any(text in str(exc) for text in _DENIED_IN_SCRIPT):
        return DENIED
    codes = _ERROR_CODE.findall(str(exc))
    return (codes[-1] if codes else exc.status_code) or "ERR"


def values_in(reply: object, expected: int | None = None) -> list[bytes | None]:
    """Return `reply` if it is a list of byte strings and None, of the length `expected` if given.

    Raises InvalidResponse otherwise.
    """
    if not isinstance(reply, list) or not _VALUE_TYPES.issuperset(map(type, reply)):
        raise InvalidResponse("no list of values")
    if expected is not None and len(reply) != expected:
        raise InvalidResponse("expected one value for each key")
    return reply


def value_in(reply: object) -> bytes | None:
    """Return `reply` if it is a byte string or None. Raises InvalidResponse otherwise."""
    [value] = values_in([reply])
    return value
