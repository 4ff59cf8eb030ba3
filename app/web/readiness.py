"""Readiness of this process for new calls, as shown by /readyz."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""The signals that stop a process: SIGTERM from a supervisor, SIGINT from Ctrl-C."""


class Phase(StrEnum):
    """A phase in the life of a process. /readyz answers 503 in all but READY."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class Readiness:
    """The current phase of this process."""

    def __init__(self) -> None:
        """Start in STARTING."""
        self.phase = Phase.STARTING

    @contextmanager
    def serving(self, on_drain: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Set READY while entered, and DRAINING on exit or when a signal of STOP_SIGNALS arrives.

        At the signal, `on_drain` is called to end waits and streams. Then the previous handler is called, which is
        uvicorn's.
        """

        def drain(number: int, frame: FrameType | None) -> None:
            self.phase = Phase.DRAINING
            on_drain()
            previous[number](number, frame)

        previous = _handlers()
        for number in previous:
            signal.signal(number, drain)
        self.phase = Phase.READY
        try:
            yield
        finally:
            self.phase = Phase.DRAINING
            for number, handler in previous.items():
                signal.signal(number, handler)


def _handlers() -> dict[int, Callable[[int, FrameType | None], Any]]:
    """Return the current handlers of STOP_SIGNALS that are Python functions.

    Outside the main thread there are none, because only the main thread may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = ((number, signal.getsignal(number)) for number in STOP_SIGNALS)
    return {number: handler for number, handler in handlers if callable(handler)}
