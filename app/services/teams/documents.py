"""JSON documents of teams, members, keys and credentials, for `luma-mcp … --json` and administration over HTTP.

Times are in UTC, as `2026-11-26T15:30:00Z`. Only `NewKeyDocument` and `NewInvitationDocument` contain a secret.
"""

from typing_extensions import TypedDict

from app.domain.access import Scope
from app.domain.calendar import utc_text
from app.domain.invitations import Invitation
from app.domain.money import amount_text
from app.domain.teams import KeyHolder, KeyState, Member, Team, TeamCredential


class TeamDocument(TypedDict):
    """A team. The days, weeks and months of its budgets begin at midnight in its time zone.

    A generation that costs more than `asks_above` has to be confirmed; null means that none has to.
    """

    id: str
    name: str
    timezone: str
    is_stopped: bool
    allows_foreign_ids: bool
    members_see_all: bool
    asks_above: str | None
    created_at: str


class MemberDocument(TypedDict):
    """A member of a team."""

    id: str
    team: str
    name: str
    is_stopped: bool
    created_at: str


class CredentialDocument(TypedDict):
    """A credential of a team, without its secret. `hint` is the end of the secret."""

    id: str
    team: str
    backend: str
    hint: str
    created_at: str
    removed_at: str | None


class FullTeamDocument(TeamDocument):
    """A team with its members and its credentials in use."""

    members: list[MemberDocument]
    credentials: list[CredentialDocument]


class KeyDocument(TypedDict):
    """A key of a member, without the secret key. `is_stopped` is about this key, not its member or team."""

    id: str
    team: str
    member: str
    hint: str
    scopes: list[Scope]
    note: str
    state: KeyState
    is_stopped: bool
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    replaced_by: str | None


class InvitationDocument(TypedDict):
    """An open invitation into a team, without its link."""

    id: str
    team: str
    note: str
    created_at: str
    expires_at: str


class NewInvitationDocument(InvitationDocument):
    """A new invitation with its link, which is shown only once."""

    link: str


class NewKeyDocument(TypedDict):
    """A new key with its secret, which is shown only once."""

    id: str
    key: str
    team: str
    member: str
    scopes: list[Scope]
    expires_at: str | None


def team_document(team: Team) -> TeamDocument:
    """Return the document of a team."""
    return {
        "id": team.id,
        "name": team.name,
        "timezone": team.timezone,
        "is_stopped": team.is_stopped,
        "allows_foreign_ids": team.allows_foreign_ids,
        "members_see_all": team.members_see_all,
        "asks_above": None if team.asks_above is None else amount_text(team.asks_above),
        "created_at": utc_text(team.created_at),
    }


def full_team_document(team: Team, members: list[Member], credentials: list[TeamCredential]) -> FullTeamDocument:
    """Return the document of a team with its members and credentials."""
    return {
        **team_document(team),
        "members": [member_document(team.name, member) for member in members],
        "credentials": [credential_document(team.name, credential) for credential in credentials],
    }


def member_document(team: str, member: Member) -> MemberDocument:
    """Return the document of a member. `team` is the team's name."""
    return {
        "id": member.id,
        "team": team,
        "name": member.name,
        "is_stopped": member.is_stopped,
        "created_at": utc_text(member.created_at),
    }


def credential_document(team: str, credential: TeamCredential) -> CredentialDocument:
    """Return the document of a credential. `team` is the team's name."""
    return {
        "id": credential.id,
        "team": team,
        "backend": credential.backend,
        "hint": credential.hint,
        "created_at": utc_text(credential.created_at),
        "removed_at": iso_time_or_none(credential.removed_at),
    }


def key_document(holder: KeyHolder) -> KeyDocument:
    """Return the document of a key, with its state at the time of the read."""
    key = holder.key
    return {
        "id": key.id,
        "team": holder.team.name,
        "member": holder.member.name,
        "hint": key.hint,
        "scopes": ordered(key.scopes),
        "note": key.note,
        "state": key.state(holder.read_at),
        "is_stopped": key.is_stopped,
        "created_at": utc_text(key.created_at),
        "expires_at": iso_time_or_none(key.expires_at),
        "last_used_at": iso_time_or_none(key.last_used_at),
        "revoked_at": iso_time_or_none(key.revoked_at),
        "replaced_by": key.replaced_by,
    }


def new_key_document(key: str, holder: KeyHolder) -> NewKeyDocument:
    """Return the document of a new key; `key` is the key itself, which is secret."""
    return {
        "id": holder.key.id,
        "key": key,
        "team": holder.team.name,
        "member": holder.member.name,
        "scopes": ordered(holder.key.scopes),
        "expires_at": iso_time_or_none(holder.key.expires_at),
    }


def invitation_document(invitation: Invitation) -> InvitationDocument:
    """Return the document of an open invitation."""
    return {
        "id": invitation.id,
        "team": invitation.team.name,
        "note": invitation.note,
        "created_at": utc_text(invitation.created_at),
        "expires_at": utc_text(invitation.expires_at),
    }


def new_invitation_document(link: str, invitation: Invitation) -> NewInvitationDocument:
    """Return the document of a new invitation, with its link."""
    return {**invitation_document(invitation), "link": link}


def ordered(scopes: frozenset[Scope]) -> list[Scope]:
    """Return scopes in the order of their definition."""
    return [scope for scope in Scope if scope in scopes]


def iso_time_or_none(moment: float | None) -> str | None:
    """Return unix seconds as ISO 8601 in UTC; None for None."""
    return None if moment is None else utc_text(moment)
