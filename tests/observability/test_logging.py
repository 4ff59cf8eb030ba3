"""Log records of uvicorn."""

import logging

from app.observability.logging import ExceptionFilter
from app.services.log_throttle import QUIET_SECONDS
from tests.support.clock import HandClock


class Recorder(logging.Handler):
    """Keeps the numbers of exceptions, and the messages of other records."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.logged.append(getattr(record, "faults", record.getMessage()))


def test_exceptions_of_requests_are_logged_once_a_minute_with_their_number(clock: HandClock) -> None:
    recorder = Recorder()
    recorder.addFilter(ExceptionFilter(clock))
    log = logging.getLogger("tests.exceptions")
    log.addHandler(recorder)
    for seconds in (0, 1, QUIET_SECONDS):
        clock.advance(seconds)
        log.error("Exception in ASGI application", exc_info=ValueError())
        log.warning("another line")
    log.removeHandler(recorder)
    assert recorder.logged == [1, "another line", "another line", 2, "another line"]
