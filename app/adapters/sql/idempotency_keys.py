"""The purchase that holds an idempotency key: one row for each name of the key. The primary key keeps names unique.

A key has a name for each secret key of the service. A purchase takes all of them, so replicas that share only some of
the secret keys, as during a rotation, still detect that the same idempotency key is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.tables import purchase_keys, purchases
from app.domain.purchase import KeyName, NewPurchase

Insert = Callable[..., Any]
"""SQLAlchemy's INSERT with ON CONFLICT for one kind of database."""


async def take_key(connection: AsyncConnection, insert: Insert, backend: str, new: NewPurchase) -> bool:
    """Insert the names of the key of `new`, and return whether none of them was taken.

    The rows are inserted in the order of the names. So two transactions with several of the same names cannot deadlock.
    """
    insertion = insert(purchase_keys).values(_rows(backend, new))
    statement = insertion.on_conflict_do_nothing().returning(purchase_keys.c.attempt)
    return len((await connection.execute(statement)).all()) == len(new.keys)


async def take_over_key(
    connection: AsyncConnection, insert: Insert, backend: str, earlier: str, new: NewPurchase
) -> bool:
    """Transfer the key from the attempt `earlier` to `new`, under every name, and return whether `earlier` held it."""
    if not await _hand_over(connection, earlier, new.attempt):
        return False
    insertion = insert(purchase_keys).values(_rows(backend, new))
    changed = {"attempt": insertion.excluded.attempt, "request_hash": insertion.excluded.request_hash}
    is_new_holder = purchase_keys.c.attempt == new.attempt
    await connection.execute(
        insertion.on_conflict_do_update(index_elements=purchase_keys.primary_key, set_=changed, where=is_new_holder)
    )
    return True


async def key_holder(connection: AsyncConnection, backend: str, names: Sequence[KeyName]) -> Row[Any] | None:
    """Return the row of the first name that is found, with `attempt` and `request_hash`; None if none is found."""
    any_name = (and_(purchase_keys.c.owner == name.owner, purchase_keys.c.key_hash == name.key_hash) for name in names)
    query = select(purchase_keys).where(purchase_keys.c.backend == backend, or_(*any_name))
    return (await connection.execute(query)).first()


def _rows(backend: str, new: NewPurchase) -> list[dict[str, str]]:
    return [{"backend": backend, "attempt": new.attempt, **asdict(name)} for name in sorted(new.keys)]


async def give_key_back(connection: AsyncConnection, condition: ColumnElement[bool]) -> None:
    """Remove a purchase that bought nothing from the chain of purchases that replaced each other.

    Its successor in the chain then replaces its predecessor. Its key is returned to the predecessor, which may have
    bought a video; without a predecessor, the key is deleted. So `replaces` never refers to a refused purchase. The key
    gets the predecessor's request hash again, which was made with the secret key that was current then.
    """
    result = await connection.execute(
        select(purchases.c.attempt, purchases.c.replaces).where(condition).with_for_update()
    )
    if (row := result.first()) is None:
        return
    successors = purchases.c.replaces == row.attempt
    await connection.execute(update(purchases).where(successors).values(replaces=row.replaces))
    if row.replaces is None:
        await connection.execute(delete(purchase_keys).where(purchase_keys.c.attempt == row.attempt))
        return
    former_hash = select(purchases.c.request_hash).where(purchases.c.attempt == row.replaces).scalar_subquery()
    statement = update(purchase_keys).where(purchase_keys.c.attempt == row.attempt)
    await connection.execute(statement.values(attempt=row.replaces, request_hash=former_hash))


async def _hand_over(connection: AsyncConnection, earlier: str, new: str) -> bool:
    """Transfer all names that `earlier` holds to `new`, and return whether it held any."""
    condition = purchase_keys.c.attempt == earlier
    return bool((await connection.execute(update(purchase_keys).where(condition).values(attempt=new))).rowcount)
