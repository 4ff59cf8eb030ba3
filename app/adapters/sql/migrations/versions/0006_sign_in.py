"""Sign-in: clients, people with their browsers, and grants with their codes and tokens; and the version of grants."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables, and begin to count the versions of grants."""
    _create_clients()
    _create_people()
    _create_codes()
    _create_grants()
    service = sa.table("service", sa.column("name"), sa.column("value"))
    op.bulk_insert(service, [{"name": "sign_in_version", "value": "0"}])


def _create_clients() -> None:
    op.create_table(
        "oauth_clients",
        sa.Column("id", sa.String(512), primary_key=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("redirect_uris", sa.Text, nullable=False),
        sa.Column("registration", sa.String(16), nullable=False),
        sa.Column("auth", sa.String(32), nullable=False),
        sa.Column("secret_digest", sa.String(64)),
        sa.Column("jwks_uri", sa.String(512)),
        sa.Column("jwks", sa.Text),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("fresh_until", sa.Float(53)),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("used_at", sa.Float(53)),
        sa.UniqueConstraint("fingerprint", name="oauth_clients_fingerprint"),
    )
    op.create_index("oauth_clients_age", "oauth_clients", ["registration", "created_at"])
    op.create_table(
        "oauth_assertions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("oauth_assertions_age", "oauth_assertions", ["expires_at"])


def _create_people() -> None:
    op.create_table(
        "oauth_people",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("issuer", sa.String(300), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("sealed", sa.Text, nullable=False),
        sa.Column("checked_at", sa.Float(53), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "oauth_sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("oauth_people.id", ondelete="CASCADE"), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("oauth_sessions_person", "oauth_sessions", ["person_id"])
    op.create_index("oauth_sessions_age", "oauth_sessions", ["expires_at"])


def _create_codes() -> None:
    op.create_table(
        "oauth_pending",
        sa.Column("state", sa.String(64), primary_key=True),
        sa.Column("browser", sa.String(64), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("oauth_pending_age", "oauth_pending", ["expires_at"])
    op.create_table(
        "oauth_codes",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("client_id", sa.String(512), nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("challenge", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("oauth_people.id", ondelete="CASCADE"), nullable=False),
        sa.Column("grant_id", sa.String(32)),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("oauth_codes_person", "oauth_codes", ["person_id"])
    op.create_index("oauth_codes_age", "oauth_codes", ["expires_at"])


def _create_grants() -> None:
    op.create_table(
        "oauth_grants",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("person_id", sa.String(32), sa.ForeignKey("oauth_people.id", ondelete="CASCADE"), nullable=False),
        sa.Column("client_id", sa.String(512), nullable=False),
        sa.Column("client_name", sa.String(80), nullable=False),
        sa.Column("redirect_host", sa.String(255), nullable=False),
        sa.Column("registration", sa.String(16), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("current", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64)),
        sa.Column("rotated_at", sa.Float(53), nullable=False),
        sa.Column("confirmed_at", sa.Float(53)),
        sa.Column("refresh_until", sa.Float(53), nullable=False),
        sa.Column("ends_at", sa.Float(53), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("last_used_at", sa.Float(53)),
        sa.Column("revoked_at", sa.Float(53)),
        sa.Column("reason", sa.String(16)),
    )
    op.create_index("oauth_grants_person", "oauth_grants", ["person_id", "created_at"])
    op.create_index("oauth_grants_age", "oauth_grants", ["refresh_until"])
    op.create_index("oauth_grants_revoked", "oauth_grants", ["revoked_at"])
    op.create_table(
        "oauth_access_tokens",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("grant_id", sa.String(32), sa.ForeignKey("oauth_grants.id", ondelete="CASCADE"), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("oauth_access_tokens_grant", "oauth_access_tokens", ["grant_id"])
    op.create_index("oauth_access_tokens_age", "oauth_access_tokens", ["expires_at"])
