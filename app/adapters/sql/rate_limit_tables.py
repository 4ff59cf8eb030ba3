"""The table of rate limits, on the metadata of `tables`."""

from sqlalchemy import Column, Integer, String, Table

from app.adapters.sql.tables import metadata

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("team_id", String(32), primary_key=True),
    Column("member_id", String(32), primary_key=True),
    Column("key_id", String(32), primary_key=True),
    Column("calls_per_minute", Integer),
    Column("generations_per_hour", Integer),
    Column("in_flight", Integer),
)
"""Limits of teams, members and keys.

`member_id` is "" in the limits of a team or key, and `key_id` in those of a team or member.
"""
