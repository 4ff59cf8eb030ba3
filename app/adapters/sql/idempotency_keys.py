"""Which purchase holds an idempotency key: one row per name of the key, which the primary key keeps unique.

A key has a name for each secret key of the service. A claim takes all of them, so replicas that know different secrets
in part, as during a rotation, still meet.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.adapters.sql.tables import purchase_keys, purchases
from app.domain.purchase import KeyName, NewPurchase

Insert = Callable[..., Any]
"""The INSERT of one database, which knows ON CONFLICT."""


async def take(connection: AsyncConnection, insert: Insert, backend: str, new: NewPurchase) -> bool:
    """Give the key of `new` to it, and return whether nobody holds the key under any of its names.

    The order of the rows keeps two callers, each with a name of the other's, from waiting for each other.
    """
    rows = insert(purchase_keys).values(_rows(backend, new))
    taken = rows.on_conflict_do_nothing().returning(purchase_keys.c.attempt)
    return len((await connection.execute(taken)).all()) == len(new.keys)


async def take_over(connection: AsyncConnection, insert: Insert, backend: str, earlier: str, new: NewPurchase) -> bool:
    """Give the key that `earlier` holds to `new`, under every name, and return whether it held one."""
    if not await _hand_over(connection, earlier, new.attempt):
        return False
    rows = insert(purchase_keys).values(_rows(backend, new))
    changed = {"attempt": rows.excluded.attempt, "request_hash": rows.excluded.request_hash}
    mine = purchase_keys.c.attempt == new.attempt
    await connection.execute(
        rows.on_conflict_do_update(index_elements=purchase_keys.primary_key, set_=changed, where=mine)
    )
    return True


async def holder(connection: AsyncConnection, backend: str, names: Sequence[KeyName]) -> Row[Any] | None:
    """Return `attempt` and `request_hash` of the row of one of `names` that is found; None where none is."""
    any_name = (and_(purchase_keys.c.owner == name.owner, purchase_keys.c.key_hash == name.key_hash) for name in names)
    held = select(purchase_keys).where(purchase_keys.c.backend == backend, or_(*any_name))
    return (await connection.execute(held)).first()


def _rows(backend: str, new: NewPurchase) -> list[dict[str, str]]:
    return [{"backend": backend, "attempt": new.attempt, **asdict(name)} for name in sorted(new.keys)]


async def give_back(connection: AsyncConnection, mine: ColumnElement[bool]) -> None:
    """Take a purchase that bought nothing out of the line of those that replaced each other.

    What replaced it replaces its own predecessor from then on, and its key goes back to that one, which may have
    bought. So `replaces` never leads to a refused purchase. The key stands for the request of the predecessor again,
    by the hash under the secret key that was current for it.
    """
    found = await connection.execute(select(purchases.c.attempt, purchases.c.replaces).where(mine).with_for_update())
    if (row := found.first()) is None:
        return
    successors = purchases.c.replaces == row.attempt
    await connection.execute(update(purchases).where(successors).values(replaces=row.replaces))
    if row.replaces is None:
        await connection.execute(delete(purchase_keys).where(purchase_keys.c.attempt == row.attempt))
        return
    former = select(purchases.c.request_hash).where(purchases.c.attempt == row.replaces).scalar_subquery()
    held = update(purchase_keys).where(purchase_keys.c.attempt == row.attempt)
    await connection.execute(held.values(attempt=row.replaces, request_hash=former))


async def _hand_over(connection: AsyncConnection, earlier: str, new: str) -> bool:
    """Give what `earlier` holds to `new`, and return whether it held anything."""
    held = purchase_keys.c.attempt == earlier
    return bool((await connection.execute(update(purchase_keys).where(held).values(attempt=new))).rowcount)
