"""Former members of teams, and ended grants that no metric has counted yet."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column, and create the table."""
    op.add_column("members", sa.Column("removed_at", sa.Float(53)))
    op.create_table(
        "oauth_uncounted_ends",
        sa.Column("grant_id", sa.String(32), primary_key=True),
        sa.Column("reason", sa.String(16), nullable=False),
    )
