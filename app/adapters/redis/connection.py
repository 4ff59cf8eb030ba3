"""Connections to Redis: the time limit of operations, and reconnecting after a failover."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import BusyLoadingError, InvalidResponse, ResponseError

from app.adapters.redis.command_queue import CommandQueue
from app.adapters.redis.scripts import READ
from app.ports.store import StoreRefuses, StoreUnavailable
from app.services.log_throttle import LogThrottle

TIMEOUT_SECONDS = 0.4
"""The longest that any operation may take: two of them, a read and a write, must cost a call under one second."""

RENEW_SECONDS = 1.0
"""Least time between two reconnects, while Redis answers that it cannot serve."""

NOT_SERVING = frozenset({"READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "LOADING", "NOREPLICAS"})
"""Error codes of a server that is no longer the master, or cannot serve now.

After a failover behind one address, existing connections still lead to the old master.
"""

DENIED = "NOPERM"
"""The error code for a command, key or channel that the user has no right to."""

_WITHIN = re.compile(r"(?:^|caused error: \('?|@user_script:\s?\d+: -)([A-Z]{2,20}) ")
"""The code in the text of an error: in front, behind the name of a command in a pipeline, or of a line in a script."""

_COMMAND = re.compile(r"'([a-zA-Z|]{1,32})' command")
"""The command that the text of a refusal names."""

log = logging.getLogger(__name__)


class RedisConnection:
    """A Redis client. All of its connections are closed once one of them reaches a server that cannot serve."""

    def __init__(self, client: "Redis | RedisCluster") -> None:
        """Own `client` from now on: `aclose` closes it."""
        self.client = client
        self.renewals = 0
        """Number of reconnects. A channel opened before the last one must be reopened."""
        self._is_stale = False
        self._renew_at = 0.0
        self._refusals, self._denials, self._floods = (LogThrottle(_loop_time) for _ in range(3))
        self._queue = CommandQueue(self._log_busy)
        self._count_failure: Callable[[str], None] = lambda _kind: None

    def report_to(self, count_failure: Callable[[str], None]) -> None:
        """Call `count_failure` for what only this link sees.

        "denied" is for want of rights, "channel" for its end, and "busy" for want of a place.
        """
        self._count_failure = count_failure

    def channel_broke(self, exc: BaseException) -> None:
        """Note that the channel ended; where Redis refuses it, nobody else would learn of it."""
        self._count_failure("channel")
        code = _code_of(exc)
        if code and code not in NOT_SERVING:
            self._log_denial(code, exc)

    @property
    def database(self) -> int:
        """The number of the database; a Cluster has one only."""
        if isinstance(self.client, RedisCluster):
            return 0
        return int(self.client.connection_pool.connection_kwargs.get("db") or 0)

    async def get_many(self, keys: Sequence[str], most_bytes: int) -> list[bytes | None]:
        """Return one value per key, and b"" for one of more than `most_bytes`; to be called inside `in_time`.

        Raises InvalidResponse for an answer of another form.
        """
        values = values_in(await cast("Any", self.client).eval(READ, len(keys), *keys, most_bytes))
        if len(values) != len(keys):
            raise InvalidResponse("not one value for each key")
        return values

    @asynccontextmanager
    async def in_time(self, tenant: str = "", *, may_be_denied: bool = False) -> AsyncIterator[None]:
        """Wait for a place, by turns with other tenants, and bound what is done inside.

        Raises StoreBusy where there was no place in time, and StoreUnavailable where Redis fails or is too slow. It is
        StoreRefuses where Redis answered, but would not do what was asked. Missing rights are logged, unless the
        operation may be denied: not every user is given the keys of release 1.0.
        """
        async with self._queue.place(tenant):
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    if self._is_stale:
                        await self._renew()
                    yield
            except Exception as exc:  # whatever a client or a reply of another form raises, Redis could not serve
                code = _code_of(exc)
                if code in NOT_SERVING:
                    await self._lead_elsewhere(code)
                if code == DENIED and not may_be_denied:
                    self._count_failure("denied")
                    self._log_denial(code, exc)
                raise (StoreRefuses if code else StoreUnavailable)(code or type(exc).__name__) from exc

    async def aclose(self) -> None:
        """Close every connection."""
        await self.client.aclose()

    async def _lead_elsewhere(self, code: str) -> None:
        self._is_stale = True
        self._log(code)
        await self._renew()

    async def _renew(self) -> None:
        """End every connection, idle ones now and others after use, unless that was done under a second ago.

        Whatever is used next dials anew, and so reaches the server that the address leads to now.
        """
        now = _loop_time()
        if now < self._renew_at:
            return
        self._renew_at, self._is_stale = now + RENEW_SECONDS, False
        self.renewals += 1
        if isinstance(self.client, RedisCluster):
            for node in self.client.get_nodes():
                node.update_active_connections_for_reconnect()
                await node.disconnect_free_connections()
            return
        pool: Any = self.client.connection_pool
        for idle in tuple(pool._available_connections):  # noqa: SLF001 - the pool's own way lets others use them meanwhile
            await idle.disconnect(nowait=True)
        await pool.update_active_connections_for_reconnect()

    def _log(self, code: str) -> None:
        """Log the first of a row of such answers, and then one line a minute with how many there were."""
        count = self._refusals.count()
        if count is None:
            return
        log.warning(
            "Redis answered %s (%d times since the last such line): the server behind LUMA_MCP_REDIS_URL is not a "
            "master that serves. Its connections are ended and dialed anew; until a master answers, each process "
            "caches for itself",
            code,
            count,
        )

    def _log_busy(self, reason: str) -> None:
        self._count_failure("busy")
        if (count := self._floods.count()) is not None:
            log.warning(
                "Calls ask more of Redis than this process may at once (%s, %d times since the last such line): cached "
                "results are read from the backend. Redis may be well: run more replicas, or limit callers at the "
                "proxy",
                reason,
                count,
            )

    def _log_denial(self, code: str, exc: BaseException) -> None:
        """Log the first denial, and then one line a minute with how many there were."""
        count = self._denials.count()
        if count is None:
            return
        found = _COMMAND.search(str(exc))
        log.warning(
            "Redis denies this service's user %s (%s, %d times since the last such line). Without all of the rights, "
            "replicas do not hear of each other's tasks and callbacks, so waits end late and read more. docs/redis.md "
            "lists the rights, and `luma-mcp check` tries them",
            f"the command {found[1].upper()}" if found is not None else "a command, key or channel",
            code,
            count,
        )


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _code_of(exc: BaseException) -> str:
    """Return the error code that Redis answered with; "" where it did not answer."""
    if not isinstance(exc, ResponseError | BusyLoadingError):
        return ""
    found = _WITHIN.findall(str(exc))
    return (found[-1] if found else exc.status_code) or "ERR"


def values_in(reply: object) -> list[bytes | None]:
    """Return a reply that is a list of values. Raises InvalidResponse for any other."""
    if not isinstance(reply, list) or not all(map(_is_value, reply)):
        raise InvalidResponse("no list of values")
    return reply


def value_in(reply: object) -> bytes | None:
    """Return a reply that is one value. Raises InvalidResponse for any other."""
    [value] = values_in([reply])
    return value


def _is_value(value: object) -> bool:
    return value is None or isinstance(value, bytes)
