"""The page of an invitation. Every text is escaped."""

from html import escape

from app.domain.invitations import Invitation, join_url
from app.web.pages.sign_in import Site, page


def join_page(site: Site, invitation: Invitation, *, sealed: str) -> str:
    """Return the page that asks an invited person whether to join. `sealed` is a hidden field of its form."""
    team, login = escape(invitation.team.name), escape(site.identity_provider_name)
    body = f"""<h1>Join the team {team}?</h1>
<p>You are invited to use <strong>{escape(site.address)}</strong> as a member of the team <strong>{team}</strong>.</p>
<p>You sign in with {login} next. From then on, every app that you connect here acts for this team: the team pays for
your videos, and its members may see them. If you act for another team today, you leave it.</p>
<form method="post" action="{escape(join_url(site.public_url))}">
<input type="hidden" name="token" value="{escape(sealed)}">
<div class="buttons"><button class="go" name="action" value="join">Sign in with {login} and join</button></div>
</form>
<p class="soft">The invitation counts once. If you do not know who has sent it, close this page.</p>"""
    return page(f"Join the team {invitation.team.name}?", body)
