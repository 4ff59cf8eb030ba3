"""The team keys of members, in SQL for both SQLite and PostgreSQL."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Update, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.administration import Administration, Change, team_named
from app.adapters.sql.directory_tables import api_keys, members, teams
from app.adapters.sql.engine import Database, SqlClock, database_now
from app.adapters.sql.limit_rows import limited_teams, window_limits
from app.domain.access import Scope
from app.domain.budget import Spender
from app.domain.teams import (
    Actor,
    ApiKey,
    AuditEntry,
    KeyHolder,
    KeyState,
    Member,
    Team,
    parsed_scopes,
    written_scopes,
)
from app.ports.directory import NewKey, NotAllowed, NotThere

NOTE_BATCH_SIZE = 500
"""Maximum number of keys that one statement updates, because databases limit the parameters of a statement."""

_TABLES = {"key": api_keys, "member": members, "team": teams}
_COLUMNS = [column.label(f"{name}__{column.name}") for name, table in _TABLES.items() for column in table.c]


class SqlApiKeys:
    """The keys of one database. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, now: SqlClock = database_now) -> None:
        """Use `database`. `now` returns the SQL of its clock."""
        self._database = database
        self._administration = Administration(database, now)
        self._now = now

    async def key_holder(self, digest: str) -> KeyHolder | None:
        """Return the key with this digest in any state; None if there is none."""
        return (await self.key_holders([digest])).get(digest)

    async def key_holders(self, digests: Collection[str]) -> dict[str, KeyHolder]:
        """Return the keys with these digests, in any state, by digest. At most 500 digests are allowed."""

        async def operation(connection: AsyncConnection) -> dict[str, KeyHolder]:
            rows = await self._select_rows(connection, api_keys.c.digest.in_(digests))
            holders = {row["key__digest"]: _holder(row) for row in rows}
            limited = await limited_teams(connection, {holder.team.id for holder in holders.values()})
            for digest, holder in holders.items():
                if holder.team.id in limited:
                    spender = Spender(holder.team.id, holder.member.id, holder.key.id)
                    holders[digest] = replace(holder, limits=await window_limits(connection, spender))
            return holders

        return await self._database.run(operation)

    async def note_used(self, key_ids: Collection[str], minute: float) -> None:
        """Record that keys were used in the minute that began at `minute` (Unix seconds).

        The version of the directory is not incremented.
        """
        remaining = iter(sorted(key_ids))
        while batch := list(islice(remaining, NOTE_BATCH_SIZE)):
            is_older = api_keys.c.last_used_at.is_(None) | (api_keys.c.last_used_at < minute)
            statement = update(api_keys).where(api_keys.c.id.in_(batch), is_older).values(last_used_at=minute)
            await self._database.run(partial(_execute, statement))

    async def holder(self, key_id: str) -> KeyHolder:
        """Return the key with this id. Raises NotThere."""
        return await self._database.run(lambda connection: self._find_by_id(connection, key_id))

    async def of_team(self, team: str, *, limit: int | None = None, after: str | None = None) -> list[KeyHolder]:
        """Return the keys of a team, the oldest first.

        At most `limit` are returned, starting after the key with the id `after`. Raises NotThere.
        """

        async def operation(connection: AsyncConnection) -> list[KeyHolder]:
            owner = await team_named(connection, team)
            condition = members.c.team_id == owner.id
            if after is not None:
                last = await self._select_keys(connection, condition & (api_keys.c.id == after))
                if not last:
                    raise NotThere(f"Team {team} has no key {after} to continue from. Begin the list anew.")
                condition &= _comes_after(last[0].key)
            return await self._select_keys(connection, condition, limit)

        return await self._database.run(operation)

    async def create(  # noqa: PLR0913 - a key has these properties
        self,
        team: str,
        member: str,
        new: NewKey,
        actor: Actor,
        *,
        scopes: frozenset[Scope],
        expires_seconds: float | None = None,
        note: str = "",
    ) -> KeyHolder:
        """Record a key of a member. Raises NotThere."""

        async def operation(change: Change) -> tuple[KeyHolder, AuditEntry | None]:
            if (recorded := await self._find_by_digest(change.connection, new.digest)) is not None:
                return recorded, None
            owner = await change.team(team)
            key_member = await change.member(owner, member)
            key = ApiKey(
                new.id,
                key_member.id,
                new.hint,
                scopes,
                note,
                is_blocked=False,
                is_stopped=False,
                created_at=change.now,
                expires_at=None if expires_seconds is None else change.now + expires_seconds,
            )
            await change.connection.execute(api_keys.insert().values(_columns(key, new.digest)))
            holder = KeyHolder(key, key_member, owner, change.now)
            return holder, _entry(change, "key.create", holder, None, _audited_fields(key))

        return await self._administration.change(actor, operation)

    async def revoke(self, key_id: str, actor: Actor) -> KeyHolder:
        """Revoke a key, which is then refused forever. Raises NotThere."""

        async def operation(change: Change) -> tuple[KeyHolder, AuditEntry | None]:
            before = await self._find_by_id(change.connection, key_id)
            revoked_at = change.now if before.key.revoked_at is None else before.key.revoked_at
            return await _update_key(change, "key.revoke", before, revoked_at=revoked_at)

        return await self._administration.change(actor, operation)

    async def block(self, key_id: str, actor: Actor, *, is_blocked: bool = True) -> KeyHolder:
        """Refuse a key until it is unblocked, or unblock it. Raises NotThere; NotAllowed for a revoked key."""
        return await self._update_unrevoked(
            "key.block" if is_blocked else "key.unblock", key_id, actor, is_blocked=is_blocked
        )

    async def stop(self, key_id: str, actor: Actor, *, is_stopped: bool = True) -> KeyHolder:
        """Stop a key's spending, or resume it. Raises NotThere; NotAllowed for a revoked key."""
        return await self._update_unrevoked(
            "key.stop" if is_stopped else "key.resume", key_id, actor, is_stopped=is_stopped
        )

    async def rotate(self, key_id: str, new: NewKey, grace_seconds: float, actor: Actor) -> KeyHolder:
        """Record a key that replaces an active one.

        The old key expires after `grace_seconds`, or at its own expiry if that is earlier. The new key has the member,
        scopes, note and lifetime of the old one. Raises NotThere, and NotAllowed for a key that is inactive or was
        already rotated.
        """

        async def operation(change: Change) -> tuple[KeyHolder, AuditEntry | None]:
            if (recorded := await self._find_by_digest(change.connection, new.digest)) is not None:
                return recorded, None
            before = await self._find_by_id(change.connection, key_id)
            old = before.key
            if (state := old.state(change.now)) is not KeyState.ACTIVE or old.replaced_by is not None:
                raise NotAllowed(_why_not_rotated(old, state))
            key = replace(
                old,
                id=new.id,
                hint=new.hint,
                created_at=change.now,
                expires_at=None if old.expires_at is None else change.now + old.expires_at - old.created_at,
                last_used_at=None,
            )
            await change.connection.execute(api_keys.insert().values(_columns(key, new.digest)))
            ends_at = change.now + grace_seconds
            expires_at = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
            _, entry = await _update_key(change, "key.rotate", before, expires_at=expires_at, replaced_by=new.id)
            return replace(before, key=key), entry

        return await self._administration.change(actor, operation)

    async def _update_unrevoked(self, action: str, key_id: str, actor: Actor, **values: bool) -> KeyHolder:
        async def operation(change: Change) -> tuple[KeyHolder, AuditEntry | None]:
            before = await self._find_by_id(change.connection, key_id)
            if before.key.revoked_at is not None:
                raise NotAllowed(f"Key {key_id} is revoked for good. Make a new key.")
            return await _update_key(change, action, before, **values)

        return await self._administration.change(actor, operation)

    async def _find_by_digest(self, connection: AsyncConnection, digest: str) -> KeyHolder | None:
        keys = await self._select_keys(connection, api_keys.c.digest == digest)
        return keys[0] if keys else None

    async def _find_by_id(self, connection: AsyncConnection, key_id: str) -> KeyHolder:
        if not (keys := await self._select_keys(connection, api_keys.c.id == key_id)):
            raise NotThere(f"There is no key with the id {key_id}. Look at the list of its team's keys.")
        return keys[0]

    async def _select_keys(
        self, connection: AsyncConnection, where: ColumnElement[bool], limit: int | None = None
    ) -> list[KeyHolder]:
        """Return the keys that fulfil `where`, with their members and teams, in one statement."""
        return [_holder(row) for row in await self._select_rows(connection, where, limit)]

    async def _select_rows(
        self, connection: AsyncConnection, where: ColumnElement[bool], limit: int | None = None
    ) -> list[dict[str, Any]]:
        joined = api_keys.join(members, members.c.id == api_keys.c.member_id).join(
            teams, teams.c.id == members.c.team_id
        )
        query = select(*_COLUMNS, self._now().label("read_at")).select_from(joined).where(where)
        rows = await connection.execute(query.order_by(api_keys.c.created_at, api_keys.c.id).limit(limit))
        return [row._asdict() for row in rows]


def _comes_after(key: ApiKey) -> ColumnElement[bool]:
    is_as_old = (api_keys.c.created_at == key.created_at) & (api_keys.c.id > key.id)
    return (api_keys.c.created_at > key.created_at) | is_as_old


async def _execute(statement: Update, connection: AsyncConnection) -> None:
    await connection.execute(statement)


async def _update_key(
    change: Change, action: str, before: KeyHolder, **values: Any
) -> tuple[KeyHolder, AuditEntry | None]:
    """Set columns of a key, and return the changed key with the entry for the audit log."""
    await change.connection.execute(update(api_keys).where(api_keys.c.id == before.key.id).values(values))
    earlier = {column: getattr(before.key, column) for column in values}
    return replace(before, key=replace(before.key, **values)), _entry(change, action, before, earlier, values)


def _entry(
    change: Change, action: str, holder: KeyHolder, before: dict[str, Any] | None, after: dict[str, Any]
) -> AuditEntry:
    return change.entry(
        action,
        f"{holder.team.name}/{holder.member.name}/{holder.key.id}",
        before=before,
        after=after,
        team_id=holder.team.id,
        member_id=holder.member.id,
        key_id=holder.key.id,
    )


def _audited_fields(key: ApiKey) -> dict[str, Any]:
    """Return the fields of a new key that the audit log records."""
    scopes = written_scopes(key.scopes)
    return {"hint": key.hint, "scopes": scopes, "note": key.note, "expires_at": key.expires_at}


def _why_not_rotated(key: ApiKey, state: KeyState) -> str:
    if state is KeyState.BLOCKED:
        return f"Key {key.id} is blocked. Unblock it first, or make a new key."
    if state is not KeyState.ACTIVE:
        return f"Key {key.id} is {state}. Make a new key."
    return f"Key {key.id} was already rotated: key {key.replaced_by} is in its place. Rotate that one."


def _holder(row: dict[str, Any]) -> KeyHolder:
    values: dict[str, dict[str, Any]] = {name: {} for name in _TABLES}
    for label, value in row.items():
        if label == "read_at":
            continue
        name, _, column = label.partition("__")
        values[name][column] = value
    del values["key"]["digest"]
    key = ApiKey(**values["key"] | {"scopes": parsed_scopes(values["key"]["scopes"])})
    return KeyHolder(key, Member(**values["member"]), Team(**values["team"]), row["read_at"])


def _columns(key: ApiKey, digest: str) -> dict[str, Any]:
    columns = {column.name: getattr(key, column.name) for column in api_keys.c if column.name != "digest"}
    return columns | {"digest": digest, "scopes": written_scopes(key.scopes)}
