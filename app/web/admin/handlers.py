"""What each operation of /admin/v1 does, and the document that it answers with.

The docstrings of the handlers are the summaries in the OpenAPI document.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from app.domain.calendar import Window
from app.domain.rate_limit import LimitKind, Limits
from app.ports.budgets import BudgetOwner
from app.services.teams.administration import TeamAdmin, TeamAdministration
from app.services.teams.budget_administration import BudgetAdministration, Limit
from app.services.teams.documents import (
    CredentialDocument,
    FullTeamDocument,
    KeyDocument,
    MemberDocument,
    NewKeyDocument,
    TeamDocument,
    credential_document,
    full_team_document,
    key_document,
    member_document,
    new_key_document,
    team_document,
)
from app.services.teams.limit_administration import LimitAdministration
from app.services.teams.spending_documents import (
    AuditDocument,
    BudgetDocument,
    LimitsDocument,
    UsageDocument,
    audit_document,
    budget_document,
    limits_document,
    usage_document,
)
from app.web.admin.bodies import (
    AuditQuery,
    Body,
    BudgetRaise,
    KeysQuery,
    LimitsQuery,
    NewBudget,
    NewCredential,
    NewKey,
    NewLimits,
    NewMember,
    NoQuery,
    Nothing,
    OwnerQuery,
    Query,
    Rotation,
    TeamChange,
    UsageQuery,
)

B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)


@dataclass(frozen=True, slots=True)
class Given(Generic[B, Q]):
    """What a request holds. `target` is the last part of its path that is no fixed word, or ""."""

    target: str
    body: B
    query: Q


Plain = Given[Nothing, NoQuery]


class TeamHandlers:
    """The operations on the team itself, its members and its credentials."""

    def __init__(self, administration: TeamAdministration) -> None:
        """Administer teams."""
        self._teams = administration

    async def show_team(self, admin: TeamAdmin, _given: Plain) -> FullTeamDocument:
        """Show the team with its members and credentials."""
        members, credentials = await self._teams.members(admin), await self._teams.credentials(admin)
        return full_team_document(admin.team, members, credentials)

    async def change_team(self, admin: TeamAdmin, given: Given[TeamChange, NoQuery]) -> TeamDocument:
        """Change what is named of the team, and nothing else."""
        wanted = given.body
        changed = await self._teams.change(
            admin,
            timezone=wanted.timezone,
            members_see_all=wanted.members_see_all,
            asks_above=wanted.asks_above,
        )
        return team_document(changed)

    async def stop_team(self, admin: TeamAdmin, _given: Plain) -> TeamDocument:
        """Refuse all spending of the team; reads go on."""
        return team_document(await self._teams.stop(admin, is_stopped=True))

    async def resume_team(self, admin: TeamAdmin, _given: Plain) -> TeamDocument:
        """Let the stopped team spend again."""
        return team_document(await self._teams.stop(admin, is_stopped=False))

    async def list_members(self, admin: TeamAdmin, _given: Plain) -> list[MemberDocument]:
        """List the members."""
        return [member_document(admin.team.name, member) for member in await self._teams.members(admin)]

    async def add_member(self, admin: TeamAdmin, given: Given[NewMember, NoQuery]) -> MemberDocument:
        """Add a member."""
        return member_document(admin.team.name, await self._teams.add_member(admin, given.body.name))

    async def stop_member(self, admin: TeamAdmin, given: Plain) -> MemberDocument:
        """Refuse all spending of a member; reads go on."""
        return member_document(admin.team.name, await self._teams.stop_member(admin, given.target, is_stopped=True))

    async def resume_member(self, admin: TeamAdmin, given: Plain) -> MemberDocument:
        """Let a stopped member spend again."""
        return member_document(admin.team.name, await self._teams.stop_member(admin, given.target, is_stopped=False))

    async def list_credentials(self, admin: TeamAdmin, _given: Plain) -> list[CredentialDocument]:
        """List the credentials in use; their secrets are not shown."""
        return [credential_document(admin.team.name, one) for one in await self._teams.credentials(admin)]

    async def add_credential(self, admin: TeamAdmin, given: Given[NewCredential, NoQuery]) -> CredentialDocument:
        """Put in a credential."""
        secret = given.body.secret.get_secret_value()
        return credential_document(admin.team.name, await self._teams.add_credential(admin, given.body.backend, secret))

    async def remove_credential(self, admin: TeamAdmin, given: Plain) -> CredentialDocument:
        """Take a credential out of use and erase its secret."""
        return credential_document(admin.team.name, await self._teams.remove_credential(admin, given.target))

    async def list_audit(self, admin: TeamAdmin, given: Given[Nothing, AuditQuery]) -> list[AuditDocument]:
        """List the log of changes and of spending, the oldest first, in pages."""
        query, names = given.query, {admin.team.id: admin.team.name}
        entries = await self._teams.audit(admin, query.limit, query.since, query.after)
        return [audit_document(names, entry) for entry in entries]


class KeyHandlers:
    """The operations on keys."""

    def __init__(self, administration: TeamAdministration) -> None:
        """Administer teams."""
        self._teams = administration

    async def list_keys(self, admin: TeamAdmin, given: Given[Nothing, KeysQuery]) -> list[KeyDocument]:
        """List the keys, the oldest first, in pages."""
        return [key_document(holder) for holder in await self._teams.keys(admin, given.query.limit, given.query.after)]

    async def create_key(self, admin: TeamAdmin, given: Given[NewKey, NoQuery]) -> NewKeyDocument:
        """Create a key of a member, and show it once."""
        wanted = given.body
        key, holder = await self._teams.create_key(
            admin, wanted.member, frozenset(wanted.scopes), wanted.expires, wanted.note
        )
        return new_key_document(key, holder)

    async def rotate_key(self, admin: TeamAdmin, given: Given[Rotation, NoQuery]) -> NewKeyDocument:
        """Create a key in the place of another, which works on for a while."""
        key, holder = await self._teams.rotate_key(admin, given.target, given.body.grace)
        return new_key_document(key, holder)

    async def revoke_key(self, admin: TeamAdmin, given: Plain) -> KeyDocument:
        """Refuse a key for good."""
        return key_document(await self._teams.revoke_key(admin, given.target))

    async def block_key(self, admin: TeamAdmin, given: Plain) -> KeyDocument:
        """Refuse a key until it is unblocked."""
        return key_document(await self._teams.block_key(admin, given.target, is_blocked=True))

    async def unblock_key(self, admin: TeamAdmin, given: Plain) -> KeyDocument:
        """Let a blocked key work again."""
        return key_document(await self._teams.block_key(admin, given.target, is_blocked=False))

    async def stop_key(self, admin: TeamAdmin, given: Plain) -> KeyDocument:
        """Refuse all spending with a key; reads go on."""
        return key_document(await self._teams.stop_key(admin, given.target, is_stopped=True))

    async def resume_key(self, admin: TeamAdmin, given: Plain) -> KeyDocument:
        """Let a stopped key spend again."""
        return key_document(await self._teams.stop_key(admin, given.target, is_stopped=False))


class BudgetHandlers:
    """The operations on budgets, and what the team has spent."""

    def __init__(self, administration: BudgetAdministration, teams: TeamAdministration) -> None:
        """Administer budgets. `teams` names their owners."""
        self._budgets = administration
        self._teams = teams

    async def list_budgets(self, admin: TeamAdmin, _given: Plain) -> list[BudgetDocument]:
        """List the budgets and what they have left."""
        return [budget_document(owned) for owned in await self._budgets.budgets(admin)]

    async def set_budget(self, admin: TeamAdmin, given: Given[NewBudget, OwnerQuery]) -> BudgetDocument:
        """Set what may be spent in each window, in the place of an earlier budget."""
        wanted = given.body
        limit = Limit(wanted.amount, wanted.is_soft, wanted.alert_url)
        owned, secret = await self._budgets.set(
            admin, await _owner(self._teams, admin, given.query), Window(given.target), limit
        )
        document = budget_document(owned)
        return document if secret is None else {**document, "alert_secret": secret}

    async def raise_budget(self, admin: TeamAdmin, given: Given[BudgetRaise, OwnerQuery]) -> BudgetDocument:
        """Raise a budget for a while, in the place of an earlier raise."""
        owner, more = await _owner(self._teams, admin, given.query), given.body
        return budget_document(await self._budgets.increase(admin, owner, Window(given.target), more.by, more.until))

    async def remove_budget(self, admin: TeamAdmin, given: Given[Nothing, OwnerQuery]) -> BudgetDocument:
        """Remove a budget."""
        return budget_document(
            await self._budgets.remove(admin, await _owner(self._teams, admin, given.query), Window(given.target))
        )

    async def show_usage(self, admin: TeamAdmin, given: Given[Nothing, UsageQuery]) -> UsageDocument:
        """Show what the team has spent, and what its budgets have left."""
        query = given.query
        return usage_document(admin.team.name, await self._budgets.usage(admin, query.since, query.by), query.by)


class LimitHandlers:
    """The operations on rate limits."""

    def __init__(self, administration: LimitAdministration, teams: TeamAdministration) -> None:
        """Administer limits. `teams` names their owners."""
        self._limits = administration
        self._teams = teams

    async def list_limits(self, admin: TeamAdmin, _given: Plain) -> list[LimitsDocument]:
        """List the rate limits of the team, its members and its keys."""
        return [limits_document(owned) for owned in await self._limits.limits(admin)]

    async def set_limits(self, admin: TeamAdmin, given: Given[NewLimits, OwnerQuery]) -> LimitsDocument:
        """Set rate limits, and leave those that are not named as they are."""
        owner = await _owner(self._teams, admin, given.query)
        return limits_document(await self._limits.set(admin, owner, Limits(**given.body.model_dump())))

    async def remove_limits(self, admin: TeamAdmin, given: Given[Nothing, LimitsQuery]) -> LimitsDocument:
        """Remove all rate limits of the team, a member or a key, or the one that is named."""
        owner, kind = await _owner(self._teams, admin, given.query), given.query.kind
        kinds = list(LimitKind) if kind is None else [kind]
        return limits_document(await self._limits.remove(admin, owner, kinds))


async def _owner(teams: TeamAdministration, admin: TeamAdmin, query: OwnerQuery) -> BudgetOwner:
    member = None if query.member is None else (await teams.member(admin, query.member)).name
    return BudgetOwner(admin.team.name, member, query.key)
