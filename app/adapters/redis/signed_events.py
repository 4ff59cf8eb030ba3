"""Signs events for the channel between replicas, and accepts each of them once.

Whoever reads and writes Redis could otherwise send the events of others again, and each of them causes reads.
"""

import logging
import os
import time
from collections.abc import Callable

from app.ports.sealing import Signer
from app.services.log_throttle import LogThrottle

MAX_MESSAGE_BYTES = 1024 * 1024
"""Size limit of a message; larger ones are ignored. Ten thousand ids fit; a message about one read is far smaller."""

MAX_AGE_SECONDS = 10.0
"""Events that are older, or more than this ahead of this process's clock, are ignored. Delivery takes milliseconds."""

MAX_SEEN = 20_000
"""Maximum number of accepted messages that are remembered: 2 MB, and those of ten seconds at 1,000 a second."""

_TIME_BYTES = 8
_HEAD_BYTES = 16
"""The time of an event in nanoseconds, and random bytes that tell it from others of the same time."""

log = logging.getLogger(__name__)


class SignedEvents:
    """Signs events with their time, and accepts each message of the channel once within MAX_AGE_SECONDS."""

    def __init__(self, signer: Signer, channel: str, wall_clock: Callable[[], float]) -> None:
        """Sign for `channel`. `wall_clock` returns Unix seconds; the clocks of all replicas must agree."""
        self._signer = signer
        self._channel = channel
        self._wall_clock = wall_clock
        self._seen: set[bytes] = set()
        self._seen_before: set[bytes] = set()
        """Signatures of accepted messages, in two generations. Replays renew none, or they would push others out."""
        self._untimely = LogThrottle(time.monotonic)

    def sign(self, event: bytes) -> bytes:
        """Return the message for an event."""
        head = int(self._wall_clock() * 1e9).to_bytes(_TIME_BYTES) + os.urandom(_HEAD_BYTES - _TIME_BYTES)
        return self._signer.sign(self._channel, head + event)

    def accept(self, message: bytes) -> bytes | None:
        """Return the event in a message; None if it is too large, not signed by this service, untimely, or not new."""
        if len(message) > MAX_MESSAGE_BYTES:
            return None
        body = self._signer.verified(self._channel, message)
        if body is None:
            return None
        signature = message[: len(message) - len(body)]
        if abs(self._wall_clock() - int.from_bytes(body[:_TIME_BYTES]) / 1e9) > MAX_AGE_SECONDS:
            self._log_untimely()
            return None
        if signature in self._seen or signature in self._seen_before:
            return None
        if len(self._seen) >= MAX_SEEN // 2:
            self._seen, self._seen_before = set(), self._seen
        self._seen.add(signature)
        return body[_HEAD_BYTES:]

    def _log_untimely(self) -> None:
        if (count := self._untimely.count()) is not None:
            log.warning(
                "Ignored events of replicas whose time is more than %d s from this process's clock (%d since the last "
                "such line), so waiting calls see the end of a task up to 2 s later. Set the clocks of all replicas "
                "by NTP. If they are right, somebody sends old events again: see who may write to Redis",
                MAX_AGE_SECONDS,
                count,
            )
