"""The first schema: purchases, claims of callbacks, and facts about the database itself."""

import secrets
import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables, and give the database its id."""
    op.create_table(
        "purchases",
        sa.Column("attempt", sa.String(32), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("backend", sa.String(300), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("key_hash", sa.String(64)),
        sa.Column("callback_id", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("task_id", sa.String(200)),
        sa.Column("replaces", sa.String(32)),
        sa.Column("called_at", sa.Float(53)),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("changed_at", sa.Float(53), nullable=False),
        sa.CheckConstraint("state IN ('sent', 'started', 'refused', 'unknown')", name="purchases_state"),
        sa.UniqueConstraint("backend", "owner", "key_hash", name="purchases_key"),
    )
    op.create_index("purchases_newest", "purchases", ["backend", "owner", "created_at"])
    op.create_index("purchases_task", "purchases", ["backend", "owner", "task_id"])
    op.create_index("purchases_callback", "purchases", ["callback_id"])
    op.create_index("purchases_replaces", "purchases", ["replaces"])
    op.create_index("purchases_age", "purchases", ["created_at"])
    op.create_table(
        "callback_claims",
        sa.Column("callback_id", sa.String(64), primary_key=True),
        sa.Column("task_id", sa.String(200), primary_key=True),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    op.create_index("callback_claims_age", "callback_claims", ["created_at"])
    service = op.create_table(
        "service",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(300), nullable=False),
    )
    op.bulk_insert(
        service,
        [
            {"name": "database_id", "value": secrets.token_hex(16)},
            {"name": "created_at", "value": f"{time.time():.0f}"},
        ],
    )
