"""Rate limits of teams, members and keys."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "rate_limits",
        sa.Column("team_id", sa.String(32), primary_key=True),
        sa.Column("member_id", sa.String(32), primary_key=True),
        sa.Column("key_id", sa.String(32), primary_key=True),
        sa.Column("calls_per_minute", sa.Integer),
        sa.Column("generations_per_hour", sa.Integer),
        sa.Column("in_flight", sa.Integer),
    )
