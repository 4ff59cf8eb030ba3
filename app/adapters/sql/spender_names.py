"""Converts between the owners of budgets and limits and the ids under which these are stored.

An owner is given by the name of a member, or by the id of any key in a chain of rotations. The stored ids are the
member's id, and the id of the first key in the chain.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from app.adapters.sql.directory_tables import api_keys, members
from app.domain.budget import Spender
from app.domain.teams import Team
from app.ports.budgets import BudgetOwner
from app.ports.directory import NotThere


@dataclass(frozen=True, slots=True)
class SpenderNames:
    """The members and keys of a team.

    Attributes:
        members: names by member id.
        replaced_by: for each key id, the id of the key that has replaced it, or None.

    """

    members: dict[str, str]
    replaced_by: dict[str, str | None]

    def spender(self, team: Team, owner: BudgetOwner) -> Spender:
        """Return the stored ids of an owner. A key is stored as the first key in its chain of rotations.

        Raises NotThere if the team does not have the member or the key.
        """
        ids = {name: member_id for member_id, name in self.members.items()}
        if owner.member is not None and owner.member not in ids:
            raise NotThere(f"Team {team.name} has no member {owner.member}. Look at the list of its members.")
        if owner.key is not None and owner.key not in self.replaced_by:
            raise NotThere(f"Team {team.name} has no key {owner.key}. Look at the list of its keys.")
        return Spender(team.id, ids[owner.member] if owner.member else None, self._first_key(owner.key))

    def owner(self, team: Team, spender: Spender) -> BudgetOwner:
        """Return the owner for stored ids. The key is the newest one in its chain of rotations.

        A member that is not in `members` is named by the id.
        """
        member = None if spender.member is None else self.members.get(spender.member, spender.member)
        return BudgetOwner(team.name, member, self._newest_key(spender.key))

    def _first_key(self, key: str | None) -> str | None:
        predecessors = {later: earlier for earlier, later in self.replaced_by.items()}
        while key is not None and (earlier := predecessors.get(key)) is not None:
            key = earlier
        return key

    def _newest_key(self, key: str | None) -> str | None:
        while key is not None and (later := self.replaced_by.get(key)) is not None:
            key = later
        return key


async def spender_names(connection: AsyncConnection, team: Team) -> SpenderNames:
    """Read the names of a team's members, and the rotations of its keys."""
    rows = await connection.execute(select(members.c.id, members.c.name).where(members.c.team_id == team.id))
    names = {row.id: row.name for row in rows}
    keys_of_members = api_keys.join(members, members.c.id == api_keys.c.member_id)
    keys = await connection.execute(
        select(api_keys.c.id, api_keys.c.replaced_by).select_from(keys_of_members).where(members.c.team_id == team.id)
    )
    return SpenderNames(names, {row.id: row.replaced_by for row in keys})


def owner_text(owner: BudgetOwner) -> str:
    """Return the owner as a text for messages, such as `member anna` or `team film`."""
    if owner.member is not None:
        return f"member {owner.member}"
    return f"team {owner.team}" if owner.key is None else f"key {owner.key}"
