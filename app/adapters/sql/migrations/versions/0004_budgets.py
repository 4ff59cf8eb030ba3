"""Budgets, the amounts used in their windows, and the ledger: the cost of each purchase of a team."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables, and a column for the price above which a team is asked.

    Earlier purchases belong to no team, so none of them has a cost that counts.
    """
    op.add_column("teams", sa.Column("asks_above", sa.BigInteger))
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("member_id", sa.String(32), nullable=False),
        sa.Column("key_id", sa.String(32), nullable=False),
        sa.Column("window", sa.String(8), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("is_soft", sa.Boolean, nullable=False),
        sa.Column("alert_sealed", sa.Text),
        sa.Column("alert_host", sa.String(300)),
        sa.Column("raised_by", sa.BigInteger, nullable=False),
        sa.Column("raised_until", sa.Float(53)),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.UniqueConstraint("team_id", "member_id", "key_id", "window", name="budgets_spender"),
    )
    op.create_table(
        "budget_windows",
        sa.Column("budget_id", sa.String(32), primary_key=True),
        sa.Column("window_start", sa.Float(53), primary_key=True),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("attempt", sa.String(32), nullable=False, unique=True),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("member_id", sa.String(32)),
        sa.Column("key_id", sa.String(32)),
        sa.Column("amount", sa.BigInteger),
        sa.Column("unit", sa.String(16)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("windows", sa.JSON, nullable=False),
        sa.Column("task_id", sa.String(200)),
        sa.Column("request_id", sa.String(200)),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("settled_at", sa.Float(53)),
        sa.Column("ask_at", sa.Float(53)),
        sa.CheckConstraint("state IN ('reserved', 'taken', 'given_back')", name="ledger_state"),
    )
    op.create_table(
        "budget_alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("budget_id", sa.String(32), nullable=False),
        sa.Column("team_id", sa.String(32), nullable=False),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("sealed_url", sa.Text),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float(53)),
    )
    op.create_index("budget_alerts_due", "budget_alerts", ["due_at"])
    op.create_index("budget_alerts_age", "budget_alerts", ["created_at"])
    op.create_index("ledger_team", "ledger", ["team_id", "created_at"])
    op.create_index("ledger_unsettled", "ledger", ["state", "ask_at"])
    op.create_index("ledger_task", "ledger", ["team_id", "task_id"])
