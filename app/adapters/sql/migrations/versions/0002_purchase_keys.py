"""Creates the table of idempotency keys, in which a key can have several names: one for each secret key.

To change a table in SQLite, it is dropped and created again, and the drop deletes the rows that refer to it. So the
keys are stored in a temporary table until `purchases` has its new form.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Move the keys of the purchases that hold one."""
    op.execute(
        "CREATE TEMPORARY TABLE held_keys AS "
        "SELECT backend, owner, key_hash, request_hash, attempt FROM purchases WHERE key_hash IS NOT NULL"
    )
    with op.batch_alter_table("purchases") as purchases:
        purchases.drop_constraint("purchases_key", type_="unique")
        purchases.drop_column("key_hash")
    op.create_table(
        "purchase_keys",
        sa.Column("backend", sa.String(300), primary_key=True),
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("key_hash", sa.String(64), primary_key=True),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("attempt", sa.String(32), sa.ForeignKey("purchases.attempt", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("purchase_keys_attempt", "purchase_keys", ["attempt"])
    op.execute(
        "INSERT INTO purchase_keys (backend, owner, key_hash, request_hash, attempt) "
        "SELECT backend, owner, key_hash, request_hash, attempt FROM held_keys"
    )
    op.execute("DROP TABLE held_keys")
