"""The handlers of the operations of /admin/v1. Each returns the document of its response.

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
    EmptyBody,
    EmptyQuery,
    KeysQuery,
    LimitsQuery,
    NewBudget,
    NewCredential,
    NewKey,
    NewLimits,
    NewMember,
    OwnerQuery,
    Query,
    Rotation,
    TeamChange,
    UsageQuery,
)

B = TypeVar("B", bound=Body)
Q = TypeVar("Q", bound=Query)


@dataclass(frozen=True, slots=True)
class OperationInput(Generic[B, Q]):
    """The validated input of a request. `target` is the variable part of its path, or ""."""

    target: str
    body: B
    query: Q


NoInput = OperationInput[EmptyBody, EmptyQuery]
"""The input of operations with neither body nor query; `target` may be set."""


class TeamHandlers:
    """The operations on the team itself, its members and its credentials."""

    def __init__(self, administration: TeamAdministration) -> None:
        """Administer teams."""
        self._teams = administration

    async def show_team(self, admin: TeamAdmin, _input: NoInput) -> FullTeamDocument:
        """Show the team with its members and credentials."""
        members, credentials = await self._teams.members(admin), await self._teams.credentials(admin)
        return full_team_document(admin.team, members, credentials)

    async def change_team(self, admin: TeamAdmin, request: OperationInput[TeamChange, EmptyQuery]) -> TeamDocument:
        """Change settings of the team; settings that are left out stay as they are."""
        body = request.body
        changed = await self._teams.change(
            admin,
            timezone=body.timezone,
            members_see_all=body.members_see_all,
            asks_above=body.asks_above,
        )
        return team_document(changed)

    async def stop_team(self, admin: TeamAdmin, _input: NoInput) -> TeamDocument:
        """Refuse all spending of the team; reads go on."""
        return team_document(await self._teams.stop(admin, is_stopped=True))

    async def resume_team(self, admin: TeamAdmin, _input: NoInput) -> TeamDocument:
        """Let the stopped team spend again."""
        return team_document(await self._teams.stop(admin, is_stopped=False))

    async def list_members(self, admin: TeamAdmin, _input: NoInput) -> list[MemberDocument]:
        """List the members."""
        return [member_document(admin.team.name, member) for member in await self._teams.members(admin)]

    async def add_member(self, admin: TeamAdmin, request: OperationInput[NewMember, EmptyQuery]) -> MemberDocument:
        """Add a member."""
        return member_document(admin.team.name, await self._teams.add_member(admin, request.body.name))

    async def stop_member(self, admin: TeamAdmin, request: NoInput) -> MemberDocument:
        """Refuse all spending of a member; reads go on."""
        return member_document(admin.team.name, await self._teams.stop_member(admin, request.target, is_stopped=True))

    async def resume_member(self, admin: TeamAdmin, request: NoInput) -> MemberDocument:
        """Let a stopped member spend again."""
        return member_document(admin.team.name, await self._teams.stop_member(admin, request.target, is_stopped=False))

    async def remove_member(self, admin: TeamAdmin, request: NoInput) -> MemberDocument:
        """Remove a member: keys and connected apps end, what was spent stays."""
        return member_document(admin.team.name, await self._teams.remove_member(admin, request.target))

    async def list_credentials(self, admin: TeamAdmin, _input: NoInput) -> list[CredentialDocument]:
        """List the credentials in use; their secrets are not shown."""
        return [credential_document(admin.team.name, credential) for credential in await self._teams.credentials(admin)]

    async def add_credential(
        self, admin: TeamAdmin, request: OperationInput[NewCredential, EmptyQuery]
    ) -> CredentialDocument:
        """Add a credential."""
        secret = request.body.secret.get_secret_value()
        return credential_document(
            admin.team.name, await self._teams.add_credential(admin, request.body.backend, secret)
        )

    async def remove_credential(self, admin: TeamAdmin, request: NoInput) -> CredentialDocument:
        """Stop the use of a credential and erase its secret."""
        return credential_document(admin.team.name, await self._teams.remove_credential(admin, request.target))

    async def list_audit(self, admin: TeamAdmin, request: OperationInput[EmptyBody, AuditQuery]) -> list[AuditDocument]:
        """List the log of changes and of spending, the oldest first, in pages."""
        query, team_names = request.query, {admin.team.id: admin.team.name}
        entries = await self._teams.audit(admin, query.limit, query.since, query.after)
        return [audit_document(team_names, entry) for entry in entries]


class KeyHandlers:
    """The operations on keys."""

    def __init__(self, administration: TeamAdministration) -> None:
        """Administer teams."""
        self._teams = administration

    async def list_keys(self, admin: TeamAdmin, request: OperationInput[EmptyBody, KeysQuery]) -> list[KeyDocument]:
        """List the keys, the oldest first, in pages."""
        return [
            key_document(holder) for holder in await self._teams.keys(admin, request.query.limit, request.query.after)
        ]

    async def create_key(self, admin: TeamAdmin, request: OperationInput[NewKey, EmptyQuery]) -> NewKeyDocument:
        """Create a key of a member, and show it once."""
        body = request.body
        key, holder = await self._teams.create_key(admin, body.member, frozenset(body.scopes), body.expires, body.note)
        return new_key_document(key, holder)

    async def rotate_key(self, admin: TeamAdmin, request: OperationInput[Rotation, EmptyQuery]) -> NewKeyDocument:
        """Create a key that replaces another, which stays valid for a while."""
        key, holder = await self._teams.rotate_key(admin, request.target, request.body.grace)
        return new_key_document(key, holder)

    async def revoke_key(self, admin: TeamAdmin, request: NoInput) -> KeyDocument:
        """Refuse a key for good."""
        return key_document(await self._teams.revoke_key(admin, request.target))

    async def block_key(self, admin: TeamAdmin, request: NoInput) -> KeyDocument:
        """Refuse a key until it is unblocked."""
        return key_document(await self._teams.block_key(admin, request.target, is_blocked=True))

    async def unblock_key(self, admin: TeamAdmin, request: NoInput) -> KeyDocument:
        """Let a blocked key work again."""
        return key_document(await self._teams.block_key(admin, request.target, is_blocked=False))

    async def stop_key(self, admin: TeamAdmin, request: NoInput) -> KeyDocument:
        """Refuse all spending with a key; reads go on."""
        return key_document(await self._teams.stop_key(admin, request.target, is_stopped=True))

    async def resume_key(self, admin: TeamAdmin, request: NoInput) -> KeyDocument:
        """Let a stopped key spend again."""
        return key_document(await self._teams.stop_key(admin, request.target, is_stopped=False))


class BudgetHandlers:
    """The operations on budgets and spending."""

    def __init__(self, administration: BudgetAdministration, teams: TeamAdministration) -> None:
        """Administer budgets with `administration`. `teams` looks up a member by id."""
        self._budgets = administration
        self._teams = teams

    async def list_budgets(self, admin: TeamAdmin, _input: NoInput) -> list[BudgetDocument]:
        """List the budgets and what they have left."""
        return [budget_document(budget) for budget in await self._budgets.budgets(admin)]

    async def set_budget(self, admin: TeamAdmin, request: OperationInput[NewBudget, OwnerQuery]) -> BudgetDocument:
        """Set the amount that may be spent in each window; it replaces an earlier budget."""
        body = request.body
        limit = Limit(body.amount, body.is_soft, body.alert_url)
        budget, alert_secret = await self._budgets.set(
            admin, await _owner(self._teams, admin, request.query), Window(request.target), limit
        )
        document = budget_document(budget)
        return document if alert_secret is None else {**document, "alert_secret": alert_secret}

    async def raise_budget(self, admin: TeamAdmin, request: OperationInput[BudgetRaise, OwnerQuery]) -> BudgetDocument:
        """Raise a budget for a while; it replaces an earlier raise."""
        owner, body = await _owner(self._teams, admin, request.query), request.body
        return budget_document(await self._budgets.increase(admin, owner, Window(request.target), body.by, body.until))

    async def remove_budget(self, admin: TeamAdmin, request: OperationInput[EmptyBody, OwnerQuery]) -> BudgetDocument:
        """Remove a budget."""
        return budget_document(
            await self._budgets.remove(admin, await _owner(self._teams, admin, request.query), Window(request.target))
        )

    async def show_usage(self, admin: TeamAdmin, request: OperationInput[EmptyBody, UsageQuery]) -> UsageDocument:
        """Show what the team has spent, and what its budgets have left."""
        query = request.query
        return usage_document(admin.team.name, await self._budgets.usage(admin, query.since, query.by), query.by)


class LimitHandlers:
    """The operations on rate limits."""

    def __init__(self, administration: LimitAdministration, teams: TeamAdministration) -> None:
        """Administer rate limits with `administration`. `teams` looks up a member by id."""
        self._limits = administration
        self._teams = teams

    async def list_limits(self, admin: TeamAdmin, _input: NoInput) -> list[LimitsDocument]:
        """List the rate limits of the team, its members and its keys."""
        return [limits_document(limits) for limits in await self._limits.limits(admin)]

    async def set_limits(self, admin: TeamAdmin, request: OperationInput[NewLimits, OwnerQuery]) -> LimitsDocument:
        """Set rate limits; limits that are left out stay as they are."""
        owner = await _owner(self._teams, admin, request.query)
        return limits_document(await self._limits.set(admin, owner, Limits(**request.body.model_dump())))

    async def remove_limits(self, admin: TeamAdmin, request: OperationInput[EmptyBody, LimitsQuery]) -> LimitsDocument:
        """Remove the rate limits of the team, a member or a key: all, or the one named in the query."""
        owner, kind = await _owner(self._teams, admin, request.query), request.query.kind
        kinds = list(LimitKind) if kind is None else [kind]
        return limits_document(await self._limits.remove(admin, owner, kinds))


async def _owner(teams: TeamAdministration, admin: TeamAdmin, query: OwnerQuery) -> BudgetOwner:
    """Return the owner of budgets or limits that a query names. Raises NotThere for an unknown member."""
    member = None if query.member is None else (await teams.member(admin, query.member)).name
    return BudgetOwner(admin.team.name, member, query.key)
