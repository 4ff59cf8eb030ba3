"""The directory: teams, members, keys, credentials and the audit log, and the member who made a purchase."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables, and insert `directory_version` 0, which replicas compare to invalidate their caches."""
    _create_teams()
    _create_keys()
    _create_audit()
    op.add_column("purchases", sa.Column("member", sa.String(64)))
    op.create_index("purchases_member", "purchases", ["backend", "owner", "member", "created_at"])
    service = sa.table("service", sa.column("name"), sa.column("value"))
    op.bulk_insert(service, [{"name": "directory_version", "value": "0"}])


def _create_teams() -> None:
    op.create_table(
        "teams",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("is_stopped", sa.Boolean, nullable=False),
        # Whether members may read tasks that the team has not bought.
        sa.Column("allows_foreign_ids", sa.Boolean, nullable=False),
        sa.Column("members_see_all", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.UniqueConstraint("name", name="teams_name"),
    )
    op.create_table(
        "members",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("team_id", sa.String(32), sa.ForeignKey("teams.id"), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("is_stopped", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.UniqueConstraint("team_id", "name", name="members_name"),
    )


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("member_id", sa.String(32), sa.ForeignKey("members.id"), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("hint", sa.String(16), nullable=False),  # prefix and last characters of the key, for recognition
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("is_blocked", sa.Boolean, nullable=False),  # the key is not accepted
        sa.Column("is_stopped", sa.Boolean, nullable=False),  # the key may read, but not spend
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53)),
        sa.Column("last_used_at", sa.Float(53)),
        sa.Column("revoked_at", sa.Float(53)),
        sa.Column("replaced_by", sa.String(32)),
        sa.UniqueConstraint("digest", name="api_keys_digest"),
    )
    op.create_index("api_keys_member", "api_keys", ["member_id"])
    op.create_table(
        "team_credentials",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("team_id", sa.String(32), sa.ForeignKey("teams.id"), nullable=False),
        sa.Column("backend", sa.String(64), nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),  # the encrypted secret; empty after removal
        sa.Column("hint", sa.String(16), nullable=False),  # the last characters of the secret, if it is long enough
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("removed_at", sa.Float(53)),
    )
    op.create_index("team_credentials_team", "team_credentials", ["team_id"])


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("team_id", sa.String(32)),
        sa.Column("member_id", sa.String(32)),
        sa.Column("key_id", sa.String(32)),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(300), nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("amount", sa.BigInteger),
        sa.Column("unit", sa.String(32)),
        sa.Column("task_id", sa.String(200)),
        sa.Column("request_id", sa.String(200)),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_team", "audit", ["team_id", "id"])
    op.create_index("audit_age", "audit", ["at"])
