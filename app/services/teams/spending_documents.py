"""JSON documents of budgets, limits, spending and the audit log.

Amounts are decimal numbers as strings, which are exact.
"""

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict

from app.domain.budget import UnsettledEntry
from app.domain.calendar import Window, utc_text
from app.domain.money import amount_text
from app.domain.teams import AuditEntry
from app.ports.budgets import OwnedBudget, Spending, SpendingGroup, Usage
from app.ports.rate_limits import OwnedLimits
from app.services.teams.documents import iso_time_or_none


class BudgetDocument(TypedDict):
    """A budget, and the use of its current window. `limit` is `amount` plus a raise, if there is one."""

    team: str
    member: str | None
    key: str | None
    window: Window
    amount: str
    unit: str
    is_soft: bool
    alert_host: str | None
    raised_by: str | None
    raised_until: str | None
    limit: str
    left: str
    reserved: str
    spent: str
    began_at: str
    renews_at: str
    alert_secret: NotRequired[str]
    """The secret that signs alerts; only in the answer that sets a budget with a URL for alerts."""


class LimitsDocument(TypedDict):
    """The rate limits of a team, a member or a key; null means no limit."""

    team: str
    member: str | None
    key: str | None
    calls_per_minute: int | None
    generations_per_hour: int | None
    in_flight: int | None


class SpendingDocument(TypedDict):
    """Spending in one unit; of one member, key or day if usage is grouped by these."""

    member: NotRequired[str | None]
    key: NotRequired[str | None]
    day: NotRequired[str | None]
    unit: str | None
    generations: int
    spent: str
    reserved: str


class UnsettledDocument(TypedDict):
    """An overdue reservation: the outcome of its generation is not known."""

    attempt: str
    member_id: str | None
    key_id: str | None
    amount: str | None
    unit: str | None
    task_id: str | None
    created_at: str


class UsageDocument(TypedDict):
    """The spending of a team since a day, and its budgets."""

    team: str
    since: str
    by: SpendingGroup | None
    usage: list[SpendingDocument]
    budgets: list[BudgetDocument]
    unsettled: list[UnsettledDocument]


class AuditDocument(TypedDict):
    """An entry of the audit log."""

    id: int | None
    at: str | None
    team: str | None
    team_id: str | None
    member_id: str | None
    key_id: str | None
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    outcome: str
    amount: str | None
    unit: str | None
    task_id: str | None
    request_id: str | None


def budget_document(owned: OwnedBudget) -> BudgetDocument:
    """Return the document of a budget."""
    use, budget = owned.use, owned.use.budget
    is_raised = use.limit != budget.amount
    return {
        "team": owned.owner.team,
        "member": owned.owner.member,
        "key": owned.owner.key,
        "window": budget.window,
        "amount": amount_text(budget.amount),
        "unit": budget.unit,
        "is_soft": budget.is_soft,
        "alert_host": None if budget.alert is None else budget.alert.host,
        "raised_by": amount_text(budget.raised_by) if is_raised else None,
        "raised_until": iso_time_or_none(budget.raised_until) if is_raised else None,
        "limit": amount_text(use.limit),
        "left": amount_text(use.left),
        "reserved": amount_text(use.reserved),
        "spent": amount_text(use.spent),
        "began_at": utc_text(use.start),
        "renews_at": utc_text(use.renews_at),
    }


def limits_document(owned: OwnedLimits) -> LimitsDocument:
    """Return the document of rate limits."""
    limits = owned.limits
    return {
        "team": owned.owner.team,
        "member": owned.owner.member,
        "key": owned.owner.key,
        "calls_per_minute": limits.calls_per_minute,
        "generations_per_hour": limits.generations_per_hour,
        "in_flight": limits.in_flight,
    }


def usage_document(team: str, usage: Usage, by: SpendingGroup | None) -> UsageDocument:
    """Return the document of a team's usage. `team` is the team's name."""
    return {
        "team": team,
        "since": str(usage.since),
        "by": by,
        "usage": [_spending_document(row, by) for row in usage.rows],
        "budgets": [budget_document(owned) for owned in usage.budgets],
        "unsettled": [_unsettled_document(entry) for entry in usage.unsettled],
    }


def _spending_document(row: Spending, by: SpendingGroup | None) -> SpendingDocument:
    document: SpendingDocument = {
        "unit": row.unit,
        "generations": row.generations,
        "spent": amount_text(row.spent),
        "reserved": amount_text(row.reserved),
    }
    if by is not None:
        document[by.value] = row.name
    return document


def _unsettled_document(entry: UnsettledEntry) -> UnsettledDocument:
    return {
        "attempt": entry.attempt,
        "member_id": entry.spender.member,
        "key_id": entry.spender.key,
        "amount": None if entry.price is None else amount_text(entry.price.amount),
        "unit": None if entry.price is None else entry.price.unit,
        "task_id": entry.task_id,
        "created_at": utc_text(entry.created_at),
    }


def audit_document(names: Mapping[str, str], entry: AuditEntry) -> AuditDocument:
    """Return the document of an entry of the audit log. `names` are the names of teams by id."""
    return {
        "id": entry.id,
        "at": iso_time_or_none(entry.at),
        "team": names.get(entry.team_id or ""),
        "team_id": entry.team_id,
        "member_id": entry.member_id,
        "key_id": entry.key_id,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": readable(entry.before),
        "after": readable(entry.after),
        "outcome": entry.outcome,
        "amount": None if entry.amount is None else amount_text(entry.amount),
        "unit": entry.unit,
        "task_id": entry.task_id,
        "request_id": entry.request_id,
    }


def readable(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return `values` with unix seconds in fields named `…_at` as ISO 8601; None for None."""
    if values is None:
        return None
    return {
        name: utc_text(value) if name.endswith("_at") and isinstance(value, float) else value
        for name, value in values.items()
    }
