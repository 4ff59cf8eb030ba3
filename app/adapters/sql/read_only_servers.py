"""Leaves PostgreSQL servers that take no writes, in case the address of the database leads to another server now.

After a failover, the old primary may live on as a standby, or as a server that is read-only. Connections to it stay
open, and what they read is old: a key that was revoked meanwhile would be accepted. Therefore a connection is asked
before its use, every CHECK_SECONDS at most, whether its server takes writes. If not, it is closed and opened again. A
new connection is used in any case, because there may be no other server.
"""

import time
from functools import partial
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio.engine import AsyncEngine

CHECK_SECONDS = 2.0
"""Default of the time for which the answer of a server counts: less than the five seconds until a change counts."""

QUESTION = "SHOW transaction_read_only"
"""Returns "on" or "off". It is "on" on a standby too."""

_CHECKED_AT = "luma-mcp checked_at"


def leave_read_only_servers(engine: AsyncEngine, check_seconds: float) -> None:
    """Close connections of `engine` to servers that take no writes. Each is checked once in `check_seconds`."""
    event.listen(engine.sync_engine, "checkout", partial(_check, check_seconds))


def _check(check_seconds: float, connection: Any, record: Any, _fairy: Any) -> None:
    """Raise DisconnectionError, for which the pool opens a new connection, unless the server takes writes."""
    now = time.monotonic()
    checked_at = record.info.setdefault(_CHECKED_AT, now)  # emptied when the connection is opened again
    if checked_at is now or now - checked_at < check_seconds:
        return
    try:
        is_read_only = connection.run_async(lambda driver: driver.fetchval(QUESTION)) == "on"
    except Exception as exc:
        raise DisconnectionError from exc
    if is_read_only:
        raise DisconnectionError
    record.info[_CHECKED_AT] = now
