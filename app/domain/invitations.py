"""Invitations into a team, each of which one person uses once."""

from dataclasses import dataclass

from app.domain.teams import Team

INVITATION_SECONDS = 7 * 86_400
"""How long an invitation is open unless its maker says otherwise."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open invitation. Neither its code nor the digest of the code is in here.

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
    """Return the page where invitations are used, without a code."""
    return f"{public_url}/join"


def invitation_link(page: str, code: str) -> str:
    """Return the link that an invited person opens. `page` is what `join_url` returns."""
    return f"{page}?invitation={code}"
