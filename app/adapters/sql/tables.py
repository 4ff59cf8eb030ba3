"""The tables of purchases and of the service. `tests/adapters/sql` compares all tables with those of the migrations."""

from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Index, MetaData, String, Table

from app.domain.purchase import PurchaseState

metadata = MetaData()

_STATES = ", ".join(f"'{state}'" for state in PurchaseState)

purchases = Table(
    "purchases",
    metadata,
    Column("attempt", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("member", String(64)),
    Column("backend", String(300), nullable=False),
    Column("action", String(16), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("callback_id", String(64)),
    Column("state", String(16), nullable=False),
    Column("task_id", String(200)),
    Column("replaces", String(32)),
    Column("called_at", Float(53)),
    Column("created_at", Float(53), nullable=False),
    Column("changed_at", Float(53), nullable=False),
    CheckConstraint(f"state IN ({_STATES})", name="purchases_state"),
    Index("purchases_newest", "backend", "owner", "created_at"),
    Index("purchases_member", "backend", "owner", "member", "created_at"),
    Index("purchases_task", "backend", "owner", "task_id"),
    Index("purchases_callback", "callback_id"),
    Index("purchases_replaces", "replaces"),
    Index("purchases_age", "created_at"),
)
"""Every submission to a backend.

`replaces` is the attempt from which the purchase has taken its idempotency key over, or NULL. `called_at` is the time
of the first callback, or NULL.
"""

purchase_keys = Table(
    "purchase_keys",
    metadata,
    Column("backend", String(300), primary_key=True),
    Column("owner", String(64), primary_key=True),
    Column("key_hash", String(64), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("attempt", String(32), ForeignKey("purchases.attempt", ondelete="CASCADE"), nullable=False),
    Index("purchase_keys_attempt", "attempt"),
)
"""The purchases that hold idempotency keys. A key has a row under each secret key of the service."""

callback_claims = Table(
    "callback_claims",
    metadata,
    Column("callback_id", String(64), primary_key=True),
    Column("task_id", String(200), primary_key=True),
    Column("created_at", Float(53), nullable=False),
    Index("callback_claims_age", "created_at"),
)
"""Task ids that callbacks have named, for purchases whose task id is unknown. They are not verified."""

service = Table(
    "service",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", String(300), nullable=False),
)
"""Facts about this database, such as its random id."""
