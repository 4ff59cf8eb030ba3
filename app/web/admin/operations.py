"""The operations of /admin/v1, as data.

Routes, the OpenAPI document and the table in docs/teams.md are generated from OPERATIONS.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from app.domain.calendar import Window
from app.services.teams.administration import TeamAdmin
from app.services.teams.documents import (
    CredentialDocument,
    FullTeamDocument,
    InvitationDocument,
    KeyDocument,
    MemberDocument,
    NewInvitationDocument,
    NewKeyDocument,
    TeamDocument,
)
from app.services.teams.spending_documents import AuditDocument, BudgetDocument, LimitsDocument, UsageDocument
from app.web.admin import bodies
from app.web.admin.bodies import EmptyBody, EmptyQuery
from app.web.admin.fields import ID_PATTERN
from app.web.admin.handlers import BudgetHandlers, KeyHandlers, LimitHandlers, TeamHandlers
from app.web.admin.invitation_handlers import InvitationHandlers

ADMIN_PATH = "/admin/v1"
WINDOW_PATTERN = f"^({'|'.join(Window)})$"

TARGET_PATTERNS = {"id": ID_PATTERN, "window": WINDOW_PATTERN}
"""The variable parts of paths, each with the pattern of its values."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation.

    Attributes:
        path: below ADMIN_PATH, with at most one variable part.
        command: the `luma-mcp` command that does the same.
        handler: an unbound method of one of the handler classes. Its docstring is the summary.
        response_type: the type of the response document, for the OpenAPI document.
        status: the status of a successful response.

    """

    method: str
    path: str
    command: str
    handler: Callable[[Any, TeamAdmin, Any], Awaitable[Any]]
    response_type: Any
    body: type[bodies.Body] = EmptyBody
    query: type[bodies.Query] = EmptyQuery
    status: int = 200

    @property
    def name(self) -> str:
        """Return the name of the operation in logs, metrics and the OpenAPI document."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """Return a sentence that says what the operation does."""
        return self.handler.__doc__ or self.name

    @property
    def is_change(self) -> bool:
        """Return whether the operation changes something."""
        return self.method != "GET"


OPERATIONS = (
    Operation("GET", "/team", "teams show", TeamHandlers.show_team, FullTeamDocument),
    Operation("PATCH", "/team", "teams set", TeamHandlers.change_team, TeamDocument, bodies.TeamChange),
    Operation("POST", "/stop", "teams stop", TeamHandlers.stop_team, TeamDocument),
    Operation("POST", "/resume", "teams resume", TeamHandlers.resume_team, TeamDocument),
    Operation("GET", "/members", "members list", TeamHandlers.list_members, list[MemberDocument]),
    Operation("POST", "/members", "members add", TeamHandlers.add_member, MemberDocument, bodies.NewMember, status=201),
    Operation("POST", "/members/{id}/stop", "members stop", TeamHandlers.stop_member, MemberDocument),
    Operation("POST", "/members/{id}/resume", "members resume", TeamHandlers.resume_member, MemberDocument),
    Operation("DELETE", "/members/{id}", "members remove", TeamHandlers.remove_member, MemberDocument),
    Operation(
        "GET", "/invitations", "members invitations", InvitationHandlers.list_invitations, list[InvitationDocument]
    ),
    Operation(
        "POST",
        "/invitations",
        "members invite",
        InvitationHandlers.invite_member,
        NewInvitationDocument,
        bodies.NewInvitation,
        status=201,
    ),
    Operation("DELETE", "/invitations/{id}", "members uninvite", InvitationHandlers.end_invitation, InvitationDocument),
    Operation("GET", "/keys", "keys list", KeyHandlers.list_keys, list[KeyDocument], query=bodies.KeysQuery),
    Operation("POST", "/keys", "keys create", KeyHandlers.create_key, NewKeyDocument, bodies.NewKey, status=201),
    Operation(
        "POST", "/keys/{id}/rotate", "keys rotate", KeyHandlers.rotate_key, NewKeyDocument, bodies.Rotation, status=201
    ),
    Operation("POST", "/keys/{id}/revoke", "keys revoke", KeyHandlers.revoke_key, KeyDocument),
    Operation("POST", "/keys/{id}/block", "keys block", KeyHandlers.block_key, KeyDocument),
    Operation("POST", "/keys/{id}/unblock", "keys unblock", KeyHandlers.unblock_key, KeyDocument),
    Operation("POST", "/keys/{id}/stop", "keys stop", KeyHandlers.stop_key, KeyDocument),
    Operation("POST", "/keys/{id}/resume", "keys resume", KeyHandlers.resume_key, KeyDocument),
    Operation("GET", "/credentials", "credentials list", TeamHandlers.list_credentials, list[CredentialDocument]),
    Operation(
        "POST",
        "/credentials",
        "credentials add",
        TeamHandlers.add_credential,
        CredentialDocument,
        bodies.NewCredential,
        status=201,
    ),
    Operation("DELETE", "/credentials/{id}", "credentials remove", TeamHandlers.remove_credential, CredentialDocument),
    Operation("GET", "/budgets", "budgets list", BudgetHandlers.list_budgets, list[BudgetDocument]),
    Operation(
        "PUT",
        "/budgets/{window}",
        "budgets set",
        BudgetHandlers.set_budget,
        BudgetDocument,
        bodies.NewBudget,
        bodies.OwnerQuery,
    ),
    Operation(
        "POST",
        "/budgets/{window}/raise",
        "budgets raise",
        BudgetHandlers.raise_budget,
        BudgetDocument,
        bodies.BudgetRaise,
        bodies.OwnerQuery,
    ),
    Operation(
        "DELETE",
        "/budgets/{window}",
        "budgets remove",
        BudgetHandlers.remove_budget,
        BudgetDocument,
        query=bodies.OwnerQuery,
    ),
    Operation("GET", "/limits", "limits list", LimitHandlers.list_limits, list[LimitsDocument]),
    Operation(
        "PATCH", "/limits", "limits set", LimitHandlers.set_limits, LimitsDocument, bodies.NewLimits, bodies.OwnerQuery
    ),
    Operation(
        "DELETE", "/limits", "limits remove", LimitHandlers.remove_limits, LimitsDocument, query=bodies.LimitsQuery
    ),
    Operation("GET", "/usage", "usage", BudgetHandlers.show_usage, UsageDocument, query=bodies.UsageQuery),
    Operation("GET", "/audit", "audit", TeamHandlers.list_audit, list[AuditDocument], query=bodies.AuditQuery),
)

COMMAND_LINE_ONLY = {
    "teams create": "whoever makes teams stands above them",
    "teams list": "a key sees its own team",
    "teams delete": "only teams of one person each are deleted, and whoever deletes teams stands above them",
    "clients create": "OAuth clients are of the whole service",
    "clients list": "OAuth clients are of the whole service",
    "clients remove": "OAuth clients are of the whole service",
    "clients grants": "people are of the whole service",
    "clients end": "people are of the whole service",
}
"""Commands that have no operation, each with the reason."""
