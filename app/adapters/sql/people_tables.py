"""The tables of invitations and of the teams of people, on the metadata of `tables`."""

from sqlalchemy import Column, Float, ForeignKey, Index, String, Table, UniqueConstraint

from app.adapters.sql.tables import metadata

invitations = Table(
    "invitations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("team_id", String(32), ForeignKey("teams.id"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("note", String(200), nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("used_by", String(32)),
    Column("ended_at", Float(53)),
    UniqueConstraint("digest", name="invitations_digest"),
    Index("invitations_team", "team_id"),
    Index("invitations_age", "expires_at"),
)
"""Invitations into teams.

`digest` is that of the code. `used_by` is the person who has joined; NULL until then. `ended_at` is the time at which
an administrator ended the invitation, or NULL.
"""

person_teams = Table(
    "person_teams",
    metadata,
    Column("person", String(32), primary_key=True),
    Column("team_id", String(32), ForeignKey("teams.id"), nullable=False),
    Column("member_id", String(32), ForeignKey("members.id"), nullable=False),
)
"""The team that a person has joined by an invitation. `person` is a keyed hash of issuer and subject."""

personal_teams = Table(
    "personal_teams",
    metadata,
    Column("person", String(32), primary_key=True),
    Column("team_id", String(32), ForeignKey("teams.id"), nullable=False),
    Column("member_id", String(32), ForeignKey("members.id"), nullable=False),
    UniqueConstraint("team_id", name="personal_teams_team"),
)
"""The teams that were made for one person each."""
