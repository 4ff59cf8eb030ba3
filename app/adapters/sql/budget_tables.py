"""The tables of budgets and of the ledger, on the metadata of `tables`."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from app.adapters.sql.tables import metadata
from app.domain.budget import EntryState

_STATES = ", ".join(f"'{state}'" for state in EntryState)

budgets = Table(
    "budgets",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("team_id", String(32), nullable=False),
    Column("member_id", String(32), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("window", String(8), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("unit", String(16), nullable=False),
    Column("is_soft", Boolean, nullable=False),
    Column("alert_sealed", Text),
    Column("alert_host", String(300)),
    Column("raised_by", BigInteger, nullable=False),
    Column("raised_until", Float(53)),
    Column("created_at", Float(53), nullable=False),
    UniqueConstraint("team_id", "member_id", "key_id", "window", name="budgets_spender"),
)
"""Limits for calendar windows. `member_id` is "" in a limit of a team or key, and `key_id` in one of a team or member.

Amounts in all tables are millionths of `unit`.
"""

budget_windows = Table(
    "budget_windows",
    metadata,
    Column("budget_id", String(32), primary_key=True),
    Column("window_start", Float(53), primary_key=True),
    Column("spent", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("told", Integer, nullable=False),
)
"""The amounts spent and reserved in a window of a budget.

A row is inserted when the budget is set, and at the first purchase in a later window. `told` is the highest passed
threshold, in percent. No further alert is written for it or a lower one. There is no foreign key to the budget, because
a budget may be removed while a purchase is unsettled.
"""

ledger = Table(
    "ledger",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("attempt", String(32), nullable=False, unique=True),
    Column("team_id", String(32), nullable=False),
    Column("member_id", String(32)),
    Column("key_id", String(32)),
    Column("amount", BigInteger),
    Column("unit", String(16)),
    Column("state", String(16), nullable=False),
    Column("windows", JSON, nullable=False),
    Column("task_id", String(200)),
    Column("request_id", String(200)),
    Column("created_at", Float(53), nullable=False),
    Column("settled_at", Float(53)),
    Column("ask_at", Float(53)),
    CheckConstraint(f"state IN ({_STATES})", name="ledger_state"),
    Index("ledger_team", "team_id", "created_at"),
    Index("ledger_unsettled", "state", "ask_at"),
    Index("ledger_task", "team_id", "task_id"),
)
"""The cost of each purchase of a team, and the windows that count it, as pairs of `budget_id` and `window_start`.

`attempt` is the id of the purchase. The amount is NULL if the price is unknown. `ask_at` is the time at which the task
of a reservation is read next, to settle the reservation. There is no foreign key to purchases, because purchases are
deleted sooner.
"""

budget_alerts = Table(
    "budget_alerts",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("budget_id", String(32), nullable=False),
    Column("team_id", String(32), nullable=False),
    Column("percent", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("sealed_url", Text),
    Column("created_at", Float(53), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", Float(53)),
    Index("budget_alerts_due", "due_at"),
    Index("budget_alerts_age", "created_at"),
)
"""Alerts about passed thresholds, each inserted in the transaction that passed its threshold.

`content` is the JSON of the alert. `due_at` is the time of the next attempt to send it, or NULL if the alert was sent
or abandoned. `tries` counts the attempts.
"""
