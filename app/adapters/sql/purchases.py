"""The purchases of all callers, in SQL for both SQLite and PostgreSQL."""

from collections.abc import Awaitable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from sqlalchemy import Column, ColumnElement, Row, and_, delete, func, not_, or_, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection
from sqlalchemy.sql.dml import Insert

from app.adapters.sql import ledger
from app.adapters.sql.charges import charge_outcome
from app.adapters.sql.deletion import DELETION_BATCH_SIZE, delete_in_batches
from app.adapters.sql.directory_tables import members
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.idempotency_keys import give_key_back, key_holder, take_key, take_over_key
from app.adapters.sql.inserts import insert_of
from app.adapters.sql.tables import callback_claims, purchases
from app.domain.budget import BudgetExceeded
from app.domain.purchase import ALLOWED_MOVES, SENDING_SECONDS, NewPurchase, Purchase, PurchaseState
from app.domain.untrusted_text import is_plain_id
from app.ports.repositories import DatabaseUnavailable

MAX_CALLBACK_TASKS = 8
"""Maximum number of task ids that are recorded for one callback URL. A forged id must not displace the true one."""

CLAIM_ATTEMPTS = 3
"""Maximum number of attempts of `SqlPurchases.claim`.

It tries again if the key was taken, and is released before its holder is read.
"""

MAX_IN_MEMORY = 20_000
"""Maximum number of purchases in a database in memory, about 0.6 KB each. The oldest are deleted first."""

MAX_COMPARED = 500
"""Maximum number of ids in one statement, because databases limit the parameters of a statement."""


_MEMBER_NAME = select(members.c.name).where(members.c.id == purchases.c.member).scalar_subquery().label("member_name")


class _KeyNotTaken(Exception):
    """The idempotency key is held by another purchase, or the attempt was already recorded. Rolls the claim back."""


class SqlPurchases:
    """The purchases from one backend. Every method raises DatabaseUnavailable."""

    def __init__(
        self,
        database: Database,
        backend: str,
        now: SqlClock = database_now,
        *,
        most_in_memory: int = MAX_IN_MEMORY,
        batch_size: int = DELETION_BATCH_SIZE,
    ) -> None:
        """Keep the purchases from `backend`; `now` returns the clock as SQL.

        In a database in memory, about the newest `most_in_memory` are kept. Old rows are deleted in batches of
        `batch_size`.
        """
        self._database = database
        self._backend = backend
        self._now = now
        self._insert = insert_of(database.kind)
        self._most_in_memory = most_in_memory
        self._batch_size = batch_size
        self._claim_calls = 0

    async def claim(self, new: NewPurchase) -> Purchase | None:
        """Record `new` as sent, and return None; or return the purchase that holds its key, without recording `new`.

        The price is reserved in the same transaction. If SpendingRefused is raised, nothing was recorded, except the
        alert that a budget is used up. In a database in memory, the oldest purchases may be deleted first.
        Raises DatabaseUnavailable, also if CLAIM_ATTEMPTS have failed because of other purchases with the same key.
        """
        self._claim_calls += 1
        if self._database.is_in_memory and self._claim_calls % (self._most_in_memory // 20) == 0:
            await self._delete_oldest()

        async def operation(connection: AsyncConnection) -> None:
            is_new = await _insert_if_new(connection, self._insertion(new))
            if new.keys and not (is_new and await take_key(connection, self._insert, self._backend, new)):
                raise _KeyNotTaken  # rolls back
            await self._charge(connection, new)

        is_one_statement = not new.keys and new.charge is None
        run = self._database.run if is_one_statement else self._database.run_in_transaction
        for _ in range(CLAIM_ATTEMPTS):
            with suppress(_KeyNotTaken):
                await self._alert_if_exhausted(run(operation))
                return None
            holder = await self._database.run(lambda connection: self._key_holder(connection, new))
            if holder is None:
                continue
            if holder.attempt != new.attempt:
                return holder
            await self._confirm(new.attempt)
            return None
        raise DatabaseUnavailable("has too many concurrent purchases with the same idempotency key")

    async def _confirm(self, attempt: str) -> None:
        """Write the row of a claim whose commit was not acknowledged: the connection was lost meanwhile.

        The row may be missing on a synchronous standby, and a read does not show that. The commit of this write is
        acknowledged when the standby has both.
        """
        statement = update(purchases).where(purchases.c.attempt == attempt).values(changed_at=self._now())

        async def operation(connection: AsyncConnection) -> None:
            await connection.execute(statement)

        await self._database.run_in_transaction(operation)

    async def take_over(self, earlier: Purchase, new: NewPurchase) -> bool:
        """Record `new` as sent, and transfer the key of `earlier` to it. Return whether `earlier` still held the key.

        The price is reserved in the same transaction. If SpendingRefused is raised, nothing was recorded.
        """
        unchanged = and_(purchases.c.attempt == earlier.attempt, purchases.c.state == earlier.state)
        insertion = self._insertion(new).values(replaces=earlier.attempt)

        async def operation(connection: AsyncConnection) -> None:
            result = await connection.execute(select(purchases.c.attempt).where(unchanged).with_for_update())
            if (
                result.first() is None
                or not await _insert_if_new(connection, insertion)
                or not await take_over_key(connection, self._insert, self._backend, earlier.attempt, new)
            ):
                raise _KeyNotTaken  # rolls back: `earlier` keeps its key
            await self._charge(connection, new)

        try:
            await self._alert_if_exhausted(self._database.run_in_transaction(operation))
        except _KeyNotTaken:
            return False
        return True

    async def record_outcome(self, attempt: str, state: PurchaseState, task_id: str | None = None) -> bool:
        """Set the state and the task id of a purchase, and return whether this change of state was allowed.

        The key of a refused purchase is returned to the purchase that it replaced, or released if there is none.
        """
        earlier_states = [from_state for from_state, allowed in ALLOWED_MOVES.items() if state in allowed]
        condition = and_(purchases.c.attempt == attempt, purchases.c.state.in_(earlier_states))
        statement = update(purchases).where(condition).values(state=state, task_id=task_id, changed_at=self._now())
        columns = (purchases.c.attempt, purchases.c.action, purchases.c.member)

        async def operation(connection: AsyncConnection) -> bool:
            if state is PurchaseState.REFUSED:
                await give_key_back(connection, condition)
            row = (await connection.execute(statement.returning(*columns))).first()
            if row is not None and row.member is not None:
                await charge_outcome(connection, row, state, task_id, self._now)
            return row is not None

        return await self._database.run_in_transaction(operation)

    async def record(self, new: NewPurchase, state: PurchaseState, task_id: str | None) -> None:
        """Insert a purchase with its outcome, but without its key, unless it is already recorded."""

        async def operation(connection: AsyncConnection) -> None:
            await _insert_if_new(connection, self._insertion(new).values(state=state, task_id=task_id))

        await self._database.run(operation)

    async def delete_unbought(self, attempt: str) -> None:
        """Delete a purchase whose token the backend did not accept, and release its key and its price."""
        condition = purchases.c.attempt == attempt

        async def operation(connection: AsyncConnection) -> None:
            await give_key_back(connection, condition)
            statement = delete(purchases).where(condition).returning(purchases.c.member)
            row = (await connection.execute(statement)).first()
            if row is not None and row.member is not None:
                await ledger.give_back(connection, attempt, self._now)

        await self._database.run_in_transaction(operation)

    async def of_callback(self, callback_id: str) -> Purchase | None:
        """Return the purchase with this callback id; None if there is none."""
        condition = and_(purchases.c.backend == self._backend, purchases.c.callback_id == callback_id)
        return await self._database.run(lambda connection: self._first_purchase(connection, condition))

    async def record_callback(self, attempt: str) -> bool:
        """Record that the backend has sent a callback, and return whether it was the first."""
        return await self._execute_change(
            update(purchases)
            .where(purchases.c.attempt == attempt, purchases.c.called_at.is_(None))
            .values(called_at=self._now())
        )

    async def add_callback_task(self, callback_id: str, task_id: str) -> None:
        """Record a task id that a callback has named. If there are MAX_CALLBACK_TASKS already, it replaces the newest.

        The callback URL may have leaked, so neither the first nor the last id is certain to be genuine.
        """
        condition = callback_claims.c.callback_id == callback_id

        async def operation(connection: AsyncConnection) -> None:
            task_ids = await self._callback_task_ids(connection, callback_id)
            if task_id in task_ids:
                return
            if len(task_ids) >= MAX_CALLBACK_TASKS:
                await connection.execute(
                    delete(callback_claims).where(condition, callback_claims.c.task_id == task_ids[-1])
                )
            insertion = self._insert(callback_claims).values(
                callback_id=callback_id, task_id=task_id, created_at=self._now()
            )
            await connection.execute(insertion.on_conflict_do_nothing())

        await self._database.run_in_transaction(operation)

    async def callback_tasks(self, callback_id: str) -> list[str]:
        """Return the task ids that callbacks have named, the oldest first."""
        return await self._database.run(lambda connection: self._callback_task_ids(connection, callback_id))

    @staticmethod
    async def _callback_task_ids(connection: AsyncConnection, callback_id: str) -> list[str]:
        result = await connection.execute(
            select(callback_claims.c.task_id)
            .where(callback_claims.c.callback_id == callback_id)
            .order_by(callback_claims.c.created_at)
        )
        return list(filter(is_plain_id, result.scalars()))

    async def newest(  # noqa: PLR0913 - a list is narrowed in several ways
        self,
        owners: Sequence[str],
        limit: int,
        *,
        outcomes: Collection[PurchaseState] = tuple(PurchaseState),
        since: float | None = None,
        before: tuple[float, str] | None = None,
        member: str | None = None,
        member_name: str | None = None,
    ) -> list[Purchase]:
        """Return at most `limit` purchases of `owners` with one of these outcomes, the newest first.

        `since` is in Unix seconds. `before` is `created_at` and `attempt` of the last purchase on the previous page.
        `member` limits the purchases to the member with this id, `member_name` to members with this name.
        """
        conditions = [
            purchases.c.backend == self._backend,
            purchases.c.owner.in_(owners),
            self._has_outcome(outcomes),
            *_of_member(member),
        ]
        if member_name is not None:
            member_ids = select(members.c.id).where(members.c.team_id.in_(owners), members.c.name == member_name)
            conditions.append(purchases.c.member.in_(member_ids))
        if since is not None:
            conditions.append(purchases.c.created_at >= since)
        if before is not None:
            at, attempt = before
            tie = and_(purchases.c.created_at == at, purchases.c.attempt < attempt)
            conditions += [
                purchases.c.created_at <= at,  # follows from the next condition, but lets the database use the index
                or_(purchases.c.created_at < at, tie),
            ]
        newest_first = (purchases.c.created_at.desc(), purchases.c.attempt.desc())

        async def operation(connection: AsyncConnection) -> list[Purchase]:
            rows = await connection.execute(
                self._select().add_columns(_MEMBER_NAME).where(*conditions).order_by(*newest_first).limit(limit)
            )
            return [_purchase(row) for row in rows]

        return await self._database.run(operation)

    def _has_outcome(self, outcomes: Collection[PurchaseState]) -> ColumnElement[bool]:
        """Return the SQL condition that `Purchase.outcome` is one of `outcomes`."""
        has_state = purchases.c.state.in_(outcomes)
        if (PurchaseState.SENT in outcomes) == (PurchaseState.UNKNOWN in outcomes):
            return has_state
        is_sent = purchases.c.state == PurchaseState.SENT
        is_lost = and_(is_sent, self._now() - purchases.c.changed_at > SENDING_SECONDS)
        return or_(has_state, is_lost) if PurchaseState.UNKNOWN in outcomes else and_(has_state, not_(is_lost))

    async def count_started(self, owners: Sequence[str], since: float) -> int:
        """Return the number of started purchases of `owners` that were created at `since` (Unix seconds) or later."""
        conditions = [
            purchases.c.backend == self._backend,
            purchases.c.owner.in_(owners),
            purchases.c.created_at >= since,
            purchases.c.state == PurchaseState.STARTED,
        ]

        async def operation(connection: AsyncConnection) -> int:
            return int(
                (await connection.execute(select(func.count()).select_from(purchases).where(*conditions))).scalar_one()
            )

        return await self._database.run(operation)

    async def bought(self, owner: str, task_ids: Collection[str], *, member: str | None = None) -> set[str]:
        """Return those of `task_ids` that `owner` has bought; with `member`, only those of this team member."""
        bought_ids: set[str] = set()
        remaining = iter(task_ids)
        while batch := list(islice(remaining, MAX_COMPARED)):
            conditions = [
                purchases.c.backend == self._backend,
                purchases.c.owner == owner,
                purchases.c.task_id.in_(batch),
                *_of_member(member),
            ]

            async def operation(connection: AsyncConnection, conditions: list[Any] = conditions) -> list[str]:
                return list((await connection.execute(select(purchases.c.task_id).where(*conditions))).scalars())

            bought_ids.update(await self._database.run(operation))
        return bought_ids

    async def task_ids(self, owners: Sequence[str], prefix: str, limit: int, *, member: str | None = None) -> list[str]:
        """Return at most `limit` task ids of the owners that begin with `prefix`, the newest first.

        With `member`, only task ids of this team member are returned.
        """

        async def operation(connection: AsyncConnection) -> list[str]:
            result = await connection.execute(
                select(purchases.c.task_id)
                .where(
                    purchases.c.backend == self._backend,
                    purchases.c.owner.in_(owners),
                    func.substr(purchases.c.task_id, 1, len(prefix)) == prefix,
                    *_of_member(member),
                )
                .order_by(purchases.c.created_at.desc())
                .limit(limit)
            )
            return list(filter(is_plain_id, result.scalars()))

        return await self._database.run(operation)

    async def delete_old(self, *, refused_seconds: float, seconds: float) -> int:
        """Delete purchases older than `seconds`, and refused ones and callback claims older than `refused_seconds`.

        Return the number of deleted purchases.
        """
        now = self._now()
        await self._delete_where(callback_claims.c.callback_id, callback_claims.c.created_at < now - refused_seconds)
        old = purchases.c.created_at < now - seconds
        refused = and_(purchases.c.state == PurchaseState.REFUSED, purchases.c.created_at < now - refused_seconds)
        return await self._delete_where(purchases.c.attempt, or_(old, refused))

    async def _delete_where(self, key: Column[str], where: ColumnElement[bool]) -> int:
        return await delete_in_batches(self._database, key, where, self._batch_size)

    async def _delete_oldest(self) -> None:
        newest_first = select(purchases.c.attempt).order_by(purchases.c.created_at.desc())
        too_many = purchases.c.attempt.in_(newest_first.offset(self._most_in_memory))
        await self._execute_change(delete(purchases).where(too_many))

    def _insertion(self, new: NewPurchase) -> Insert:
        now = self._now()
        values = self._insert(purchases).values(
            attempt=new.attempt,
            owner=new.owner,
            member=new.member,
            backend=self._backend,
            action=new.action,
            request_hash=new.request_hash,
            callback_id=new.callback_id,
            state=PurchaseState.SENT,
            created_at=now,
            changed_at=now,
        )
        insertion: Insert = values.on_conflict_do_nothing()
        return insertion

    async def _alert_if_exhausted(self, claim: Awaitable[None]) -> None:
        """Await `claim`. If a budget refuses it, write the alert that the budget is used up."""
        try:
            await claim
        except BudgetExceeded as exc:
            use = exc.use
            with suppress(DatabaseUnavailable):
                await self._database.run_in_transaction(
                    lambda connection: ledger.mark_exhausted(connection, use, self._now)
                )
            raise

    async def _charge(self, connection: AsyncConnection, new: NewPurchase) -> None:
        """Reserve the price of a purchase. Raises SpendingRefused, which rolls the claim back."""
        if new.charge is not None:
            await ledger.reserve(connection, new.attempt, new.charge, self._now)

    async def _key_holder(self, connection: AsyncConnection, new: NewPurchase) -> Purchase | None:
        """Return the purchase that holds the key of `new`, else `new` if it is already recorded, else None."""
        key_row = await key_holder(connection, self._backend, new.keys)
        attempt = new.attempt if key_row is None else key_row.attempt
        purchase = await self._first_purchase(connection, purchases.c.attempt == attempt)
        if purchase is None or key_row is None:
            return purchase
        return replace(purchase, request_hash=key_row.request_hash)

    async def _first_purchase(self, connection: AsyncConnection, condition: ColumnElement[bool]) -> Purchase | None:
        row = (await connection.execute(self._select().where(condition))).first()
        return None if row is None else _purchase(row)

    async def _execute_change(self, statement: Any) -> bool:
        """Execute a statement, and return whether it changed any row."""

        async def operation(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(statement)).rowcount)

        return await self._database.run(operation)

    def _select(self) -> Any:
        return select(purchases, (self._now() - purchases.c.changed_at).label("age_seconds"))


def _of_member(member: str | None) -> list[ColumnElement[bool]]:
    return [] if member is None else [purchases.c.member == member]


async def _insert_if_new(connection: AsyncConnection, insertion: Insert) -> bool:
    return (await connection.execute(insertion.returning(purchases.c.attempt))).first() is not None


def _task_id(row: Row[Any]) -> str | None:
    """Return the task id of a row; None if callers could not send it. Only another writer can have stored such an id.

    It would reach a model, which could take it for an instruction.
    """
    return row.task_id if row.task_id is not None and is_plain_id(row.task_id) else None


def _purchase(row: Row[Any]) -> Purchase:
    return Purchase(
        attempt=row.attempt,
        owner=row.owner,
        action=row.action,
        request_hash=row.request_hash,
        callback_id=row.callback_id,
        state=PurchaseState(row.state),
        task_id=_task_id(row),
        created_at=row.created_at,
        changed_at=row.changed_at,
        age_seconds=max(row.age_seconds, 0.0),
        member_name=getattr(row, "member_name", None),
    )
