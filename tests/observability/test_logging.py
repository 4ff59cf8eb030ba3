"""Log lines of libraries are throttled, because callers can cause them."""

import logging

from app.observability.logging import LibraryFilter
from app.services.log_throttle import QUIET_SECONDS
from tests.support.clock import HandClock


class Recorder(logging.Handler):
    """Keeps the message of each record, and how many records it stands for."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.addFilter(LibraryFilter(clock))
        self.logged: list[tuple[str, int | None]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append((record.getMessage(), getattr(record, "times", None)))


def test_each_line_of_a_library_logs_once_a_minute_with_its_number(clock: HandClock) -> None:
    recorder, log = Recorder(clock), logging.getLogger("mcp.server.runner")
    log.addHandler(recorder)
    for seconds in (0, 1, 1, QUIET_SECONDS):
        clock.advance(seconds)
        log.error("Exception in ASGI application", exc_info=ValueError())
        log.warning("dropped %r", seconds)
    log.removeHandler(recorder)
    assert recorder.logged == [
        ("Exception in ASGI application", 1),
        ("dropped 0", 1),
        ("Exception in ASGI application", 3),
        (f"dropped {QUIET_SECONDS}", 3),
    ]


def test_the_programs_own_lines_are_not_throttled(clock: HandClock) -> None:
    recorder, log = Recorder(clock), logging.getLogger("app.services.tests")
    log.addHandler(recorder)
    for _ in range(3):
        log.warning("a line")
    log.removeHandler(recorder)
    assert recorder.logged == [("a line", None)] * 3
