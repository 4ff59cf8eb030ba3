"""The sources of time that the parts of a process use. Tests replace them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.adapters.sql.engine import TIMEOUTS, DatabaseTimeouts, SqlClock, database_now


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of a process, its sleep, and how long it waits for its database.

    Attributes:
        wall: returns the Unix time in seconds.
        monotonic: returns seconds of a monotonic clock.
        sleep: waits for a number of seconds.
        database: returns the SQL expression for the current time of the database.
        database_timeouts: timeouts of the database, in seconds of the real time.

    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    database: SqlClock = database_now
    database_timeouts: DatabaseTimeouts = TIMEOUTS
