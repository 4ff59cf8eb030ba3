"""Updates the ledger with the outcome of a purchase, in the transaction that records the outcome."""

from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import audit_values
from app.adapters.sql.budget_tables import ledger
from app.adapters.sql.directory_tables import audit, members, teams
from app.adapters.sql.engine import SqlClock
from app.adapters.sql.ledger import give_back, record_task_id
from app.domain.purchase import PurchaseState
from app.domain.teams import AuditEntry


async def charge_outcome(
    connection: AsyncConnection, purchase: Row[Any], state: PurchaseState, task_id: str | None, now: SqlClock
) -> None:
    """Release the price of a refused purchase, or record the task id of a started one, and write the audit log.

    `purchase` has the columns `attempt` and `action`. Nothing is done if the purchase has no entry in the ledger.
    """
    result = await connection.execute(select(ledger).where(ledger.c.attempt == purchase.attempt))
    if (entry := result.first()) is None:
        return
    if state is PurchaseState.REFUSED:
        await give_back(connection, purchase.attempt, now)
    elif task_id is not None:
        await record_task_id(connection, purchase.attempt, task_id)
    audited = _audit_entry(entry, purchase.action, await _subject(connection, entry), state, task_id)
    await connection.execute(audit.insert().values(audit_values(audited) | {"at": now()}))


async def _subject(connection: AsyncConnection, entry: Row[Any]) -> str:
    """Return the names of the buying team and member as `team/member`; "" if the member no longer exists."""
    of_member = members.join(teams, teams.c.id == members.c.team_id)
    query = select(teams.c.name.label("team"), members.c.name.label("member")).select_from(of_member)
    names = (await connection.execute(query.where(members.c.id == entry.member_id))).first()
    return "" if names is None else f"{names.team}/{names.member}"


def _audit_entry(entry: Row[Any], action: str, subject: str, state: PurchaseState, task_id: str | None) -> AuditEntry:
    return AuditEntry(
        f"key:{entry.key_id}" if entry.key_id is not None else f"member:{entry.member_id}",
        f"purchase.{action}",
        subject,
        state.value,
        team_id=entry.team_id,
        member_id=entry.member_id,
        key_id=entry.key_id,
        amount=entry.amount,
        unit=entry.unit,
        task_id=task_id,
        request_id=entry.request_id,
    )
