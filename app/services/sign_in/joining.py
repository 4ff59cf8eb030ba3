"""Leads an invited person from the link to the login. The return from the login uses the invitation up."""

from collections.abc import Callable

from app.domain.invitations import Invitation
from app.domain.sign_in_tokens import INVITATION
from app.ports.admission import JoinRefused
from app.ports.people import Invitations
from app.ports.sign_in import ContentSealer
from app.services.limits.database_turns import BROWSERS, DatabaseTurns
from app.services.sign_in.flow import CONSENT_SECONDS, MAX_SEALED_LENGTH, Browser, BrowserRedirect, SignInFlow
from app.services.sign_in.lazy_token_mint import LazyTokenMint
from app.services.teams.admission import ENDED

STALE = (
    "This page was open for too long, was not opened in this browser, or the browser keeps no cookies for this site. "
    "Open the link of the invitation again."
)
_JOIN = "join"


class Joining:
    """Leads invited people to the login. Every method raises DatabaseUnavailable."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of an invitation's way
        self,
        invitations: Invitations,
        turns: DatabaseTurns,
        mint: LazyTokenMint,
        flow: SignInFlow,
        sealer: ContentSealer,
        wall_clock: Callable[[], float],
    ) -> None:
        """Look up invitations in `invitations`, within the limits of `turns`, and sign people in with `flow`."""
        self._invitations = invitations
        self._turns = turns
        self._mint = mint
        self._flow = flow
        self._sealer = sealer
        self._wall_clock = wall_clock

    async def page_content(self, code: str, browser: Browser) -> tuple[Invitation, str]:
        """Return the invitation with a code, and the sealed text for the form on its page. Raises JoinRefused."""
        if not INVITATION.is_well_formed(code):
            raise JoinRefused(ENDED)
        digest = (await self._mint.load()).digest(code)
        if (invitation := await self._turns.run(BROWSERS, lambda: self._invitations.find(digest))) is None:
            raise JoinRefused(ENDED)
        content = {"invitation": digest, "until": self._wall_clock() + CONSENT_SECONDS}
        return invitation, self._sealer.seal(_JOIN, content, browser.secret)

    async def begin_login(self, sealed: str, browser: Browser) -> BrowserRedirect:
        """Return the redirect to the login after the person has agreed. Raises JoinRefused and LoginUnavailable."""
        content = self._sealer.unseal(_JOIN, sealed, browser.secret) if len(sealed) <= MAX_SEALED_LENGTH else None
        if content is None or content["until"] <= self._wall_clock():
            raise JoinRefused(STALE)
        return await self._flow.begin_join_login(content["invitation"], browser)
