"""The tables of the directory of teams, on the metadata of `tables`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from app.adapters.sql.tables import metadata

teams = Table(
    "teams",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("is_stopped", Boolean, nullable=False),
    Column("allows_foreign_ids", Boolean, nullable=False),
    Column("members_see_all", Boolean, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("asks_above", BigInteger),
    UniqueConstraint("name", name="teams_name"),
)

members = Table(
    "members",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("team_id", String(32), ForeignKey("teams.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("is_stopped", Boolean, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("removed_at", Float(53)),
    UniqueConstraint("team_id", "name", name="members_name"),
)
"""Members. The row of a former member stays, under another name, so that the member's purchases keep a name."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("member_id", String(32), ForeignKey("members.id"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("hint", String(16), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("note", String(200), nullable=False),
    Column("is_blocked", Boolean, nullable=False),
    Column("is_stopped", Boolean, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("expires_at", Float(53)),
    Column("last_used_at", Float(53)),
    Column("revoked_at", Float(53)),
    Column("replaced_by", String(32)),
    UniqueConstraint("digest", name="api_keys_digest"),
    Index("api_keys_member", "member_id"),
)

team_credentials = Table(
    "team_credentials",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("team_id", String(32), ForeignKey("teams.id"), nullable=False),
    Column("backend", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("hint", String(16), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("removed_at", Float(53)),
    Index("team_credentials_team", "team_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("team_id", String(32)),
    Column("member_id", String(32)),
    Column("key_id", String(32)),
    Column("actor", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("outcome", String(64), nullable=False),
    Column("amount", BigInteger),
    Column("unit", String(32)),
    Column("task_id", String(200)),
    Column("request_id", String(200)),
    Index("audit_team", "team_id", "id"),
    Index("audit_age", "at"),
    sqlite_autoincrement=True,
)
"""The audit log. It has no foreign keys, because its rows outlive their subjects.

In PostgreSQL, an identity column needs no permission for its sequence.
"""
