"""Invitations, the teams that people have joined with them, and personal teams."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("team_id", sa.String(32), sa.ForeignKey("teams.id"), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.Column("used_by", sa.String(32)),
        sa.Column("ended_at", sa.Float(53)),
        sa.UniqueConstraint("digest", name="invitations_digest"),
    )
    op.create_index("invitations_team", "invitations", ["team_id"])
    op.create_index("invitations_age", "invitations", ["expires_at"])
    op.create_table("person_teams", *_membership())
    op.create_table("personal_teams", *_membership(), sa.UniqueConstraint("team_id", name="personal_teams_team"))


def _membership() -> list[sa.Column[str]]:
    return [
        sa.Column("person", sa.String(32), primary_key=True),
        sa.Column("team_id", sa.String(32), sa.ForeignKey("teams.id"), nullable=False),
        sa.Column("member_id", sa.String(32), sa.ForeignKey("members.id"), nullable=False),
    ]
