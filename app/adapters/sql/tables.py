"""The tables. Migrations create them; `tests/adapters/sql` holds the two against each other."""

from sqlalchemy import CheckConstraint, Column, Float, Index, MetaData, String, Table, UniqueConstraint

from app.domain.purchase import PurchaseState

metadata = MetaData()

_STATES = ", ".join(f"'{state}'" for state in PurchaseState)

purchases = Table(
    "purchases",
    metadata,
    Column("attempt", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("backend", String(300), nullable=False),
    Column("action", String(16), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("key_hash", String(64)),
    Column("callback_id", String(64)),
    Column("state", String(16), nullable=False),
    Column("task_id", String(200)),
    Column("replaces", String(32)),
    Column("called_at", Float(53)),
    Column("created_at", Float(53), nullable=False),
    Column("changed_at", Float(53), nullable=False),
    CheckConstraint(f"state IN ({_STATES})", name="purchases_state"),
    UniqueConstraint("backend", "owner", "key_hash", name="purchases_key"),
    Index("purchases_newest", "backend", "owner", "created_at"),
    Index("purchases_task", "backend", "owner", "task_id"),
    Index("purchases_callback", "callback_id"),
    Index("purchases_replaces", "replaces"),
    Index("purchases_age", "created_at"),
)
"""Every submission. NULLs are distinct to the unique constraint: purchases without a key never meet."""

callback_claims = Table(
    "callback_claims",
    metadata,
    Column("callback_id", String(64), primary_key=True),
    Column("task_id", String(200), primary_key=True),
    Column("created_at", Float(53), nullable=False),
    Index("callback_claims_age", "created_at"),
)
"""Task ids that callbacks named before their purchase had one. Callbacks are not signed: a claim proves nothing."""

service = Table(
    "service",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(300), nullable=False),
)
"""Facts about this database, such as its random id."""
