"""Invitations into a team, each of which one person uses once."""

from dataclasses import dataclass

from app.domain.teams import Team

INVITATION_SECONDS = 7 * 86_400
"""Default lifetime of an invitation."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open invitation, without its code and the digest of the code.

    Attributes:
        team: the team that a person joins with it.
        created_at: unix seconds by the database's clock, as `expires_at`.

    """

    id: str
    team: Team
    note: str
    created_at: float
    expires_at: float


def join_url(public_url: str) -> str:
    """Return the URL of the page where people use invitations."""
    return f"{public_url}/join"


def invitation_link(page: str, code: str) -> str:
    """Return the link that an invited person opens. `page` is the URL from `join_url`."""
    return f"{page}?invitation={code}"
