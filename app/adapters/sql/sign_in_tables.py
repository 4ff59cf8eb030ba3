"""The tables of sign-in, on the metadata of `tables`. Tokens are stored as digests, and people's secrets sealed."""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from app.adapters.sql.tables import metadata

oauth_clients = Table(
    "oauth_clients",
    metadata,
    Column("id", String(512), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("redirect_uris", Text, nullable=False),
    Column("registration", String(16), nullable=False),
    Column("auth", String(32), nullable=False),
    Column("secret_digest", String(64)),
    Column("jwks_uri", String(512)),
    Column("jwks", Text),
    Column("fingerprint", String(64)),
    Column("fresh_until", Float(53)),
    Column("created_at", Float(53), nullable=False),
    Column("used_at", Float(53)),
    UniqueConstraint("fingerprint", name="oauth_clients_fingerprint"),
    Index("oauth_clients_age", "registration", "created_at"),
)
"""OAuth clients. `used_at` is NULL until a person has authorized the client."""

oauth_assertions = Table(
    "oauth_assertions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("expires_at", Float(53), nullable=False),
    Index("oauth_assertions_age", "expires_at"),
)
"""Client assertions that were used. Each is accepted only once."""

oauth_people = Table(
    "oauth_people",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("issuer", String(300), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("checked_at", Float(53), nullable=False),
    Column("created_at", Float(53), nullable=False),
)

oauth_sessions = Table(
    "oauth_sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("person_id", String(32), ForeignKey("oauth_people.id", ondelete="CASCADE"), nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Index("oauth_sessions_person", "person_id"),
    Index("oauth_sessions_age", "expires_at"),
)

oauth_pending = Table(
    "oauth_pending",
    metadata,
    Column("state", String(64), primary_key=True),
    Column("browser", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Index("oauth_pending_age", "expires_at"),
)

oauth_codes = Table(
    "oauth_codes",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("client_id", String(512), nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("challenge", String(64), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("person_id", String(32), ForeignKey("oauth_people.id", ondelete="CASCADE"), nullable=False),
    Column("grant_id", String(32)),
    Column("expires_at", Float(53), nullable=False),
    Index("oauth_codes_person", "person_id"),
    Index("oauth_codes_age", "expires_at"),
)

oauth_grants = Table(
    "oauth_grants",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("person_id", String(32), ForeignKey("oauth_people.id", ondelete="CASCADE"), nullable=False),
    Column("client_id", String(512), nullable=False),
    Column("client_name", String(80), nullable=False),
    Column("redirect_host", String(255), nullable=False),
    Column("registration", String(16), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("current", String(64), nullable=False),
    Column("previous", String(64)),
    Column("rotated_at", Float(53), nullable=False),
    Column("confirmed_at", Float(53)),
    Column("refresh_until", Float(53), nullable=False),
    Column("ends_at", Float(53), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("last_used_at", Float(53)),
    Column("revoked_at", Float(53)),
    Column("reason", String(16)),
    Index("oauth_grants_person", "person_id", "created_at"),
    Index("oauth_grants_age", "refresh_until"),
    Index("oauth_grants_revoked", "revoked_at"),
)
"""Grants with their refresh tokens. The client's name is copied, because clients may be deleted before their grants."""

oauth_access_tokens = Table(
    "oauth_access_tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("grant_id", String(32), ForeignKey("oauth_grants.id", ondelete="CASCADE"), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Index("oauth_access_tokens_grant", "grant_id"),
    Index("oauth_access_tokens_age", "expires_at"),
)

oauth_uncounted_ends = Table(
    "oauth_uncounted_ends",
    metadata,
    Column("grant_id", String(32), primary_key=True),
    Column("reason", String(16), nullable=False),
)
"""Ended grants that no metric has counted yet. One replica counts each, because the command line has no metrics."""
