"""The readiness of this process for new calls, as /readyz shows it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""The signals that ask a process to stop: from a supervisor, and from Ctrl-C."""


class Phase(StrEnum):
    """The life of a process, as /readyz tells it."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Readiness:
    """The phase that this process is in."""

    def __init__(self) -> None:
        """Begin with starting."""
        self.phase = Phase.STARTING

    @contextmanager
    def serving(self, on_drain: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Be ready while entered, and draining from the moment one of STOPPING arrives, before the server acts on it.

        `on_drain` is called then, to end what would otherwise go on for long.
        """

        def drain(number: int, frame: FrameType | None) -> None:
            self.phase = Phase.DRAINING
            on_drain()
            before[number](number, frame)

        before = _handlers()
        for number in before:
            signal.signal(number, drain)
        self.phase = Phase.READY
        try:
            yield
        finally:
            self.phase = Phase.DRAINING
            for number, handler in before.items():
                signal.signal(number, handler)


def _handlers() -> dict[int, Callable[[int, FrameType | None], Any]]:
    """Return what handles each of STOPPING now; nothing where signals belong to another thread or to the system."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = ((number, signal.getsignal(number)) for number in STOPPING)
    return {number: handler for number, handler in handlers if callable(handler)}
