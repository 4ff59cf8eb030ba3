"""`luma-mcp audit`: prints the audit log of billable calls and administrative changes, oldest first."""

import csv
import io
import json
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from app.cli.admin.command import Administrator, add_verb, checked
from app.cli.admin.output import NONE, say, table, time_text
from app.domain.money import amount_text
from app.domain.team_input import parsed_moment
from app.domain.teams import AuditEntry, valid_name
from app.services.teams.spending_documents import audit_document, readable

PAGE_SIZE = 1000
"""Number of entries that are read and held in memory at once."""

HEADINGS = ("time", "team", "actor", "action", "subject", "change", "outcome", "amount", "task")


def add_commands(commands: Any) -> None:
    """Add `audit`."""
    audit = add_verb(commands, "audit", _audit, "Print the log of spending and of administrative changes.")
    audit.add_argument("--team", type=checked(valid_name), metavar="TEAM", help="only what concerns this team")
    audit.add_argument(
        "--since",
        type=checked(lambda text: parsed_moment(text, time.time())),
        metavar="TIME",
        help="only from then on: 2026-11-01, an ISO time, or 30d for the last 30 days",
    )
    audit.add_argument(
        "--format",
        choices=("table", "jsonl", "csv"),
        default="table",
        help="table, JSON lines or CSV (default: %(default)s)",
    )


async def _audit(admin: Administrator, args: Namespace) -> None:
    team_names = {team.id: team.name for team in await admin.directory.teams.all()}
    team_id = None if args.team is None else (await admin.directory.teams.team(args.team)).id
    pages = _pages(admin, team_id, args.since)
    if admin.output.is_json:
        admin.output.show([audit_document(team_names, entry) async for page in pages for entry in page], [])
        return
    is_first = True
    async for page in pages:
        _print(team_names, page, args.format, is_first=is_first)
        is_first = False
    if is_first:  # there are no entries: print the headings alone
        _print(team_names, [], args.format, is_first=True)


async def _pages(admin: Administrator, team_id: str | None, since: float | None) -> AsyncIterator[list[AuditEntry]]:
    after = 0
    while page := await admin.directory.audit.entries(PAGE_SIZE, team_id=team_id, since=since, after=after):
        yield page
        after = page[-1].id or 0


def _print(team_names: Mapping[str, str], page: Sequence[AuditEntry], output_format: str, *, is_first: bool) -> None:
    """Print a page of entries. Only the first page has headings."""
    match output_format:
        case "jsonl":
            lines: Iterable[str] = (json.dumps(audit_document(team_names, entry)) for entry in page)
        case "csv":
            lines = _csv(team_names, page, is_first=is_first)
        case _:
            lines = table(HEADINGS, [_row(team_names, entry) for entry in page])[0 if is_first else 1 :]
    for line in lines:
        say(line)


def _csv(team_names: Mapping[str, str], page: Sequence[AuditEntry], *, is_first: bool) -> list[str]:
    buffer = io.StringIO()
    columns = [*audit_document({}, AuditEntry("", "", ""))]  # the same for every entry
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    if is_first:
        writer.writeheader()
    for entry in page:
        document = audit_document(team_names, entry)
        writer.writerow(document | {name: _json(document[name]) for name in ("before", "after")})
    return [buffer.getvalue().removesuffix("\n")]


def _json(values: Mapping[str, Any] | None) -> str:
    return "" if values is None else json.dumps(values, ensure_ascii=False)


def _row(team_names: Mapping[str, str], entry: AuditEntry) -> tuple[str, ...]:
    return (
        time_text(entry.at),
        team_names.get(entry.team_id or "", NONE),
        entry.actor,
        entry.action,
        entry.subject,
        _change(entry),
        entry.outcome,
        f"{NONE if entry.amount is None else amount_text(entry.amount)} {entry.unit or ''}".rstrip(),
        entry.task_id or NONE,
    )


def _change(entry: AuditEntry) -> str:
    """Return the text of a change: each value before and after, or the values of a created or removed object."""
    before, after = readable(entry.before), readable(entry.after)
    if before and after:
        changes = [f"{name}: {json.dumps(before.get(name))} -> {json.dumps(after.get(name))}" for name in after]
    else:
        changes = [
            f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in (before or after or {}).items()
        ]
    return "; ".join(changes) or NONE
