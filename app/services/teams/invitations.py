"""Invitations into a team, made and ended by its own keys with the scope `admin`.

Every method raises AdministrationRefused and DatabaseUnavailable; `invite` raises OtherSecretKey too.
"""

from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.invitations import Invitation, invitation_link
from app.domain.teams import Actor, written_scopes
from app.ports.directory import Directory, NotAllowed
from app.ports.people import Invitations
from app.ports.sealing import SecretMaker
from app.services.teams.administration import MAX_MEMBERS, NotPermitted, TeamAdmin

NO_SIGN_IN = (
    "An invitation leads to the sign-in of this service, which is off. Its operator has to set LUMA_MCP_SIGN_IN=oidc "
    "and LUMA_MCP_PUBLIC_URL. Nothing was made."
)


class InvitationMaker:
    """Makes invitations with their links."""

    def __init__(self, invitations: Invitations, secrets: SecretMaker, page: str | None) -> None:
        """Record in `invitations`. Links lead to the URL `page`, which is None if nobody can sign in to a team."""
        self._invitations = invitations
        self._secrets = secrets
        self._page = page

    async def invite(self, team: str, actor: Actor, expires_seconds: int, note: str) -> tuple[str, Invitation]:
        """Record an invitation into the team of this name. Return its link and the invitation.

        Raises NotAllowed if nobody can sign in to a team.
        """
        if self._page is None:
            raise NotAllowed(NO_SIGN_IN)
        code, new = await self._secrets.new_invitation()
        made = await self._invitations.create(team, new, actor, expires_seconds=expires_seconds, note=note)
        return invitation_link(self._page, code), made


class InvitationAdministration:
    """Operations of a key with the scope `admin` on the invitations into its team."""

    def __init__(self, directory: Directory, maker: InvitationMaker) -> None:
        """Change `directory`, in which `maker` makes invitations."""
        self._directory = directory
        self._maker = maker

    async def invite(self, admin: TeamAdmin, expires_seconds: int, note: str) -> tuple[str, Invitation]:
        """Make an invitation. Return its link and the invitation.

        A person who joins may read and generate. Raises NotPermitted if the caller is stopped or lacks one of these
        scopes, and NotAllowed if the team has too many members and open invitations.
        """
        admin.require_spending()
        if missing := PASSTHROUGH_SCOPES - admin.holder.key.scopes:
            raise NotPermitted(
                f"Your key does not have {written_scopes(missing)}, which a person who joins gets. Ask the operator of "
                "this service."
            )
        name = admin.team.name
        members = await self._directory.teams.members(name)
        if len(members) + len(await self._directory.invitations.of_team(name)) >= MAX_MEMBERS:
            raise NotAllowed(
                f"A team has at most {MAX_MEMBERS} members and open invitations. Ask the operator of this service "
                "for more."
            )
        return await self._maker.invite(name, admin.actor, expires_seconds, note)

    async def invitations(self, admin: TeamAdmin) -> list[Invitation]:
        """Return the open invitations, oldest first."""
        return await self._directory.invitations.of_team(admin.team.name)

    async def end(self, admin: TeamAdmin, invitation_id: str) -> Invitation:
        """End an invitation of the team."""
        return await self._directory.invitations.end(invitation_id, admin.actor, team_id=admin.team.id)
