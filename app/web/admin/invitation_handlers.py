"""The operations on invitations of /admin/v1. Their docstrings are the summaries in the OpenAPI document."""

from app.services.teams.administration import TeamAdmin
from app.services.teams.documents import (
    InvitationDocument,
    NewInvitationDocument,
    invitation_document,
    new_invitation_document,
)
from app.services.teams.invitations import InvitationAdministration
from app.web.admin.bodies import EmptyQuery, NewInvitation
from app.web.admin.handlers import NoInput, OperationInput


class InvitationHandlers:
    """The operations on invitations."""

    def __init__(self, administration: InvitationAdministration) -> None:
        """Administer invitations."""
        self._invitations = administration

    async def list_invitations(self, admin: TeamAdmin, _input: NoInput) -> list[InvitationDocument]:
        """List the open invitations; their links are not shown."""
        return [invitation_document(invitation) for invitation in await self._invitations.invitations(admin)]

    async def invite_member(
        self, admin: TeamAdmin, request: OperationInput[NewInvitation, EmptyQuery]
    ) -> NewInvitationDocument:
        """Make a link with which one person joins the team, and show it once."""
        link, invitation = await self._invitations.invite(admin, request.body.expires, request.body.note)
        return new_invitation_document(link, invitation)

    async def end_invitation(self, admin: TeamAdmin, request: NoInput) -> InvitationDocument:
        """End an invitation that was not used."""
        return invitation_document(await self._invitations.end(admin, request.target))
