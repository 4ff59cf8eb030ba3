"""The tables of budgets and of the ledger, beside those in `tables.py`."""

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
"""A limit per calendar window. `member_id` and `key_id` are empty where it is not for one member, or for one key.

Amounts, here and below, are millionths of `unit`.
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
"""What a window of a budget has used, and the highest threshold that was told. A row is made when it is first used.

No foreign key leads to the budget: a purchase may be under way while its budget is removed.
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
"""The cost of each purchase of a team, and the windows that it counts in, as pairs of `budget_id` and `window_start`.

The amount is unknown where the price is. `ask_at` is when the task of a reservation is asked for next.
There is no foreign key to purchases, which are deleted sooner.
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
"""Thresholds that were passed, written in the transaction that passed them, and whether each was told.

`content` is the JSON of the alert. `due_at` is when it is sent next; it is empty once the alert was sent or given up.
"""
