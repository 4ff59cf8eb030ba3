"""The checks of each response and log line, and the report of failures with the bytes to reproduce them."""

import json
import re
from dataclasses import dataclass, field

from tests.fuzz.request import Answer, Request
from tests.support.documents import OUT
from tests.support.process import Server

OURS = (b"-32603", b'"code":"internal_error"', b"Traceback", b"Internal Server Error")
"""Signs of an internal error in a response. No request may get one while the backend works."""

MAX_FINDINGS = 10
SHOWN_BYTES = 1_000

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


REFUSING = (501, 505)
REFUSED_HEADS = (b'"coding_unknown"', b'"method_unknown"', b'"version_unknown"')


@dataclass(frozen=True)
class Finding:
    """One failure.

    what: the kind of failure.
    seen: the response or log line.
    numbers: the seeds of the requests that may have caused it.
    sent: the bytes of the request; empty for a log line.
    """

    what: str
    seen: str
    numbers: tuple[int, ...]
    sent: bytes = b""


@dataclass
class Findings:
    """All failures of a run, which ends early after MAX_FINDINGS."""

    found: list[Finding] = field(default_factory=list)
    server_errors: int = 0
    faults_logged: int = 0

    @property
    def are_enough(self) -> bool:
        """Whether the run should end."""
        return len(self.found) >= MAX_FINDINGS

    def judge(self, request: Request, sent: bytes, answer: Answer) -> None:
        """Check a response."""
        self.server_errors += _is_a_fault(answer.status, answer.body)
        if wrong := _wrong(request, answer):
            self.add(wrong, f"{answer.status} {answer.body[:SHOWN_BYTES]!r}", request, sent)

    def judge_bytes(self, request: Request, sent: bytes, come: bytes) -> int:
        """Check everything that was received for raw bytes; return the number of responses in it."""
        statuses = [int(status) for status in _STATUS.findall(come)]
        faults = sum(_is_a_fault(status, come) for status in statuses)
        self.server_errors += faults
        if faults or any(mark in come for mark in OURS):
            self.add("a fault of the service", repr(come[:SHOWN_BYTES]), request, sent)
        return len(statuses)

    def add(self, what: str, seen: str, request: Request, sent: bytes) -> None:
        """Add a failure of one request."""
        self.found.append(Finding(what, seen, (request.number,), sent))

    def logged(self, line: str, numbers: tuple[int, ...]) -> None:
        """Add a log line that reports a fault, with the seeds of the requests that may have caused it."""
        self.faults_logged += 1
        if not self.are_enough:
            self.found.append(Finding("a fault in the log", line.strip(), numbers))

    def report(self) -> str:
        """Return the failures as text, and write the bytes of each request to out/fuzz-N.http."""
        lines = []
        for number, finding in enumerate(self.found):
            numbers = ", ".join(map(str, finding.numbers)) or "unknown: it was logged when the service ended"
            lines += [f"NOT WELL: {finding.what}: {finding.seen}", f"  request numbers: {numbers}"]
            if finding.sent:
                kept = OUT / f"fuzz-{number}.http"
                kept.write_bytes(finding.sent)
                lines.append(f"  sent (whole in out/{kept.name}): {finding.sent[:SHOWN_BYTES]!r}")
        return "\n".join(lines)


def _is_a_fault(status: int, come: bytes) -> bool:
    """Whether a status is a server error, other than a refusal with 501 or 505 of a head (RFC 9110, 15.6)."""
    return status >= 500 and not (status in REFUSING and any(mark in come for mark in REFUSED_HEADS))


def _wrong(request: Request, answer: Answer) -> str | None:
    """Return the kind of failure of a response, or None."""
    if _is_a_fault(answer.status, answer.body) or any(mark in answer.body for mark in OURS):
        return "a fault of the service"
    if request.id is None or (request.listens and answer.told()):
        return None
    try:
        ids = answer.ids()
    except ValueError:
        return "an answer that is no JSON"
    return None if ids == [request.id] else "an answer to another request, or to none"


class LogWatch:
    """A reader of the service's log that returns new lines only."""

    def __init__(self, server: Server) -> None:
        self._lines = server.lines
        self._read = 0

    def faults(self) -> list[str]:
        """Return the lines since the last call that report a fault."""
        fresh = self._lines[self._read :]
        self._read += len(fresh)
        return [line for line in fresh if tells_of_a_fault(line)]


def tells_of_a_fault(line: str) -> bool:
    """Whether a line is at level error or above, carries an exception, or is not the service's JSON."""
    if "Traceback" in line:
        return True
    try:
        told = json.loads(line)
    except ValueError:
        return True
    return not isinstance(told, dict) or "exception" in told or told.get("level") not in ("debug", "info", "warning")
