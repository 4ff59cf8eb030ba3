"""`luma-mcp usage`: prints a team's spending, its budgets, and its overdue reservations."""

from argparse import Namespace
from typing import Any

from app.cli.admin.budgets import budget_lines
from app.cli.admin.command import Administrator, add_verb, checked
from app.cli.admin.output import NONE, table, time_text
from app.domain.budget import UnsettledEntry
from app.domain.calendar import parse_day
from app.domain.money import amount_text
from app.ports.budgets import SpendingGroup, Usage
from app.services.teams.spending_documents import usage_document

OVERDUE_HEADINGS = ("overdue", "price", "task", "since (UTC)")


def add_commands(commands: Any) -> None:
    """Add `usage`."""
    usage = add_verb(commands, "usage", _usage, "Print what a team has spent, and what its budgets have left.", "TEAM")
    usage.add_argument(
        "--since", type=checked(parse_day), metavar="2026-11-01", help="a day in the team's zone (first of this month)"
    )
    usage.add_argument("--by", choices=[str(one) for one in SpendingGroup], help="add up by this (all together)")


async def _usage(admin: Administrator, args: Namespace) -> None:
    by = None if args.by is None else SpendingGroup(args.by)
    usage = await admin.budgets.usage(args.team, args.since, by)
    admin.output.show(usage_document(args.team, usage, by), _lines(usage, by))


def _lines(usage: Usage, by: SpendingGroup | None) -> list[str]:
    rows = [
        (row.name or NONE, str(row.generations), amount_text(row.spent), amount_text(row.reserved), row.unit or NONE)
        for row in usage.rows
    ]
    lines = table((by or f"since {usage.since}", "generations", "spent", "reserved", "unit"), rows)
    if usage.budgets:
        lines += ["", *budget_lines(usage.budgets)]
    if usage.unsettled:
        lines += ["", *table(OVERDUE_HEADINGS, [_overdue_row(entry) for entry in usage.unsettled])]
    return lines


def _overdue_row(entry: UnsettledEntry) -> tuple[str, ...]:
    price = NONE if entry.price is None else str(entry.price)
    return (entry.attempt, price, entry.task_id or NONE, time_text(entry.created_at))
