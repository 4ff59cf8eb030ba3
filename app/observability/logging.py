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

FRAMES = 12
"""Number of innermost frames of an exception that are logged."""


def configure_logging(level: str, form: Literal["json", "text"] | None) -> None:
    """Send every log record to standard error in `form`. None means text on a terminal, and JSON elsewhere.

    `level` is that of this program's loggers. Libraries log at WARNING and above.
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
                harmless_exception,
                renderer(chosen),
            ],
        )
    )
    logging.raiseExceptions = False  # on a full disk, lines are lost without a traceback for each
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("app").setLevel(level)
    logging.getLogger("uvicorn.access").propagate = False
    logging.getLogger("uvicorn.error").addFilter(ExceptionFilter())
    stamina.instrumentation.set_on_retry_hooks([])  # the client counts each attempt in the metrics


class ExceptionFilter(logging.Filter):
    """Passes at most one record with an exception per minute, and every record without one.

    The attribute `faults` of a record that passes is the number of records with exceptions since the last such record.

    uvicorn logs each request that fails with an unexpected exception, so a caller who finds a way to cause one could
    fill the disk.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure time with `clock`, in seconds."""
        super().__init__()
        self._throttle = LogThrottle(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log `record`."""
        if not record.exc_info:
            return True
        count = self._throttle.count()
        record.__dict__["faults"] = count
        return count is not None


def renderer(form: Literal["json", "text"]) -> Processor:
    """Return the processor that formats an event as a line."""
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_dumps)
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def harmless_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its types and frames, because its message may quote a caller or the backend.

    This is a structlog processor.
    """
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else None
    if error is not None:
        event["exception"] = describe(error)
    return event


def describe(error: BaseException) -> list[str]:
    """Return log lines for a chain of exceptions, outermost first: the type of each, then its innermost frames."""
    lines: list[str] = []
    link: BaseException | None = error
    while link is not None:
        lines.append(type(link).__qualname__)
        frames = traceback.extract_tb(link.__traceback__)[-FRAMES:]
        lines += [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return lines


_ENCODER = json.JSONEncoder(default=str, separators=(",", ":"))


def _dumps(event: Any, **_options: Any) -> str:
    return _ENCODER.encode(event)
