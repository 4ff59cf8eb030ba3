"""Structured logs: one format for this program and its libraries, without the messages of exceptions."""

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Literal

import stamina.instrumentation
import structlog
from structlog.typing import EventDict, Processor

from app.services.log_throttle import LogThrottle

MAX_FRAMES = 12
"""Maximum number of frames of an exception that are logged, the innermost ones."""


def configure_logging(level: str, form: Literal["json", "text"] | None) -> None:
    """Send log records to standard error in `form`. None means text on a terminal, and JSON elsewhere.

    `level` is that of this program's loggers. Libraries log at WARNING and above, and uvicorn's access log is dropped.
    """
    chosen = form or ("text" if sys.stderr.isatty() else "json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                redact_exception,
                renderer(chosen),
            ],
        )
    )
    handler.addFilter(LibraryFilter())
    logging.raiseExceptions = False  # on a full disk, lines are lost without a traceback for each
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("app").setLevel(level)
    logging.getLogger("uvicorn.access").propagate = False
    stamina.instrumentation.set_on_retry_hooks([])  # the client counts each attempt in the metrics


class LibraryFilter(logging.Filter):
    """Passes at most one record a minute from each line of a library's source, and every record of this program.

    A record that passes has the attribute `times`: the number of records from its line since the previous one that
    passed, itself included.

    uvicorn and the SDK log requests that fail and messages that they drop, so a caller could otherwise fill the disk.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure time with `clock`, in seconds."""
        super().__init__()
        self._clock = clock
        self._throttles: dict[tuple[str, int], LogThrottle] = {}  # as many as there are lines that log

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log `record`."""
        if record.name.partition(".")[0] == "app":
            return True
        throttle = self._throttles.setdefault((record.pathname, record.lineno), LogThrottle(self._clock))
        count = throttle.count()
        record.__dict__["times"] = count
        return count is not None


def renderer(form: Literal["json", "text"]) -> Processor:
    """Return the processor that formats an event as a line."""
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_dumps)
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def redact_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by the types and frames of its chain, because messages may quote a caller or the backend.

    This is a structlog processor.
    """
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else None
    if error is not None:
        event["exception"] = format_exception_chain(error)
    return event


def format_exception_chain(error: BaseException) -> list[str]:
    """Return log lines for a chain of exceptions, outermost first: the type of each, then its innermost frames."""
    lines: list[str] = []
    current: BaseException | None = error
    while current is not None:
        lines.append(type(current).__qualname__)
        frames = traceback.extract_tb(current.__traceback__)[-MAX_FRAMES:]
        lines += [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return lines


_ENCODER = json.JSONEncoder(default=str, separators=(",", ":"))


def _dumps(event: Any, **_options: Any) -> str:
    return _ENCODER.encode(event)
