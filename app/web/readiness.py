"""Whether this process wants new calls."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType


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
        """Be ready while entered, and draining from the moment a SIGTERM arrives, before the server acts on it.

        `on_drain` is called then, to end what would otherwise go on for long.
        """
        before = signal.getsignal(signal.SIGTERM)
        in_main_thread = threading.current_thread() is threading.main_thread()

        def drain(number: int, frame: FrameType | None) -> None:
            self.phase = Phase.DRAINING
            on_drain()
            if callable(before):
                before(number, frame)

        if in_main_thread and callable(before):
            signal.signal(signal.SIGTERM, drain)
        self.phase = Phase.READY
        try:
            yield
        finally:
            self.phase = Phase.DRAINING
            if in_main_thread and callable(before):
                signal.signal(signal.SIGTERM, before)
