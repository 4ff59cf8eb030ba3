"""What must not be: the verdict on each answer and each line of the log, with what it takes to send it again."""

import json
import re
from dataclasses import dataclass, field

from tests.fuzz.request import Answer, Request
from tests.support.documents import OUT
from tests.support.process import Server

OURS = (b"-32603", b'"code":"internal_error"', b"Traceback", b"Internal Server Error")
"""Marks of a fault of this service in an answer: none of them is owed to any request while the backend is well."""

MOST_FINDINGS = 10
SHOWN_BYTES = 1_000

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


REFUSING = (501, 505)
REFUSED_HEADS = (b'"coding_unknown"', b'"method_unknown"', b'"version_unknown"')


@dataclass(frozen=True)
class Finding:
    """One thing that must not be: what it is, what showed it, and the requests that it may be due to."""

    what: str
    seen: str
    numbers: tuple[int, ...]
    sent: bytes = b""


@dataclass
class Findings:
    """All that were found; the run ends early when there are many."""

    found: list[Finding] = field(default_factory=list)
    server_errors: int = 0
    faults_logged: int = 0

    @property
    def are_enough(self) -> bool:
        """Whether to stop looking for more."""
        return len(self.found) >= MOST_FINDINGS

    def judge(self, request: Request, sent: bytes, answer: Answer) -> None:
        """Look at an answer."""
        self.server_errors += _is_a_fault(answer.status, answer.body)
        if wrong := _wrong(request, answer):
            self.add(wrong, f"{answer.status} {answer.body[:SHOWN_BYTES]!r}", request, sent)

    def judge_bytes(self, request: Request, sent: bytes, come: bytes) -> int:
        """Look at what came for something framed by hand; return how many answers it holds."""
        statuses = [int(status) for status in _STATUS.findall(come)]
        faults = sum(_is_a_fault(status, come) for status in statuses)
        self.server_errors += faults
        if faults or any(mark in come for mark in OURS):
            self.add("a fault of the service", repr(come[:SHOWN_BYTES]), request, sent)
        return len(statuses)

    def add(self, what: str, seen: str, request: Request, sent: bytes) -> None:
        """Note what a request has shown."""
        self.found.append(Finding(what, seen, (request.number,), sent))

    def logged(self, line: str, numbers: tuple[int, ...]) -> None:
        """Note a line that must not be in the log, and the requests about which it was written."""
        self.faults_logged += 1
        if not self.are_enough:
            self.found.append(Finding("a fault in the log", line.strip(), numbers))

    def report(self) -> str:
        """Return what was found, and leave the bytes that were sent beside the figures."""
        lines = []
        for number, finding in enumerate(self.found):
            numbers = ", ".join(map(str, finding.numbers)) or "any number: it came when the service ended"
            lines += [f"NOT WELL: {finding.what}: {finding.seen}", f"  grown from {numbers}"]
            if finding.sent:
                kept = OUT / f"fuzz-{number}.http"
                kept.write_bytes(finding.sent)
                lines.append(f"  sent, and kept whole in out/{kept.name}: {finding.sent[:SHOWN_BYTES]!r}")
        return "\n".join(lines)


def _is_a_fault(status: int, come: bytes) -> bool:
    """Whether a status tells of a fault: a head that is not served is refused with 501 or 505 (RFC 9110, 15.6)."""
    return status >= 500 and not (status in REFUSING and any(mark in come for mark in REFUSED_HEADS))


def _wrong(request: Request, answer: Answer) -> str | None:
    """Return what is wrong with an answer, or None."""
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
    """Reads the log as it grows."""

    def __init__(self, server: Server) -> None:
        self._lines = server.lines
        self._read = 0

    def faults(self) -> list[str]:
        """Return the lines since the last look that tell of a fault."""
        fresh = self._lines[self._read :]
        self._read += len(fresh)
        return [line for line in fresh if tells_of_a_fault(line)]


def tells_of_a_fault(line: str) -> bool:
    """Whether a line is an error, carries an exception, or is none of our lines at all."""
    if "Traceback" in line:
        return True
    try:
        told = json.loads(line)
    except ValueError:
        return True
    return not isinstance(told, dict) or "exception" in told or told.get("level") not in ("debug", "info", "warning")
