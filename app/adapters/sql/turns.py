"""A database whose operations wait for their turn, so that a flood of sign-ins leaves connections to purchases."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.services.limits.database_turns import DatabaseTurns

T = TypeVar("T")


class Operations(Protocol):
    """The part of Database that the repositories of sign-in use."""

    @property
    def kind(self) -> str:
        """The kind of database: "SQLite" or "PostgreSQL"."""
        ...

    def run(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Return the result of `operation`. Each of its statements is committed at once. Raises DatabaseUnavailable."""
        ...

    def run_in_transaction(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """Return the result of `operation`, which runs in one transaction. Raises DatabaseUnavailable."""
        ...


class DatabaseInTurns:
    """Runs each operation of one caller on a database in its turn. Raises DatabaseBusy if the wait is too long."""

    def __init__(self, database: Operations, turns: DatabaseTurns, caller: str) -> None:
        """Run operations on `database`, when `turns` gives `caller` a turn."""
        self._database = database
        self._turns = turns
        self._caller = caller

    @property
    def kind(self) -> str:
        """The kind of database."""
        return self._database.kind

    async def run(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of `operation`. Each of its statements is committed at once. Raises DatabaseUnavailable."""
        return await self._turns.run(self._caller, partial(self._database.run, operation))

    async def run_in_transaction(self, operation: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of `operation`, which runs in one transaction. Raises DatabaseUnavailable."""
        return await self._turns.run(self._caller, partial(self._database.run_in_transaction, operation))
