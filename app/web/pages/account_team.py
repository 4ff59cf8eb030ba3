"""The section of the account page about the person's team. Every text is escaped."""

from html import escape

from app.services.teams.person_account import PersonTeamView
from app.web.pages.sign_in import Site


def team_part(site: Site, view: PersonTeamView, backend_name: str, *, csrf_token: str) -> str:
    """Return the section as HTML. `csrf_token` is a hidden field of its form. `backend_name` is shown to people."""
    if view.team is None:
        return f'<p class="warning">{escape(view.problem or "")}</p>'
    intro = f"<p>Your apps act for the team <strong>{escape(view.team)}</strong>.</p>"
    if view.is_personal:
        return intro + _credential_form(site, view, escape(backend_name), csrf_token)
    return intro + (_leave_form(site, escape(view.team), csrf_token) if view.is_joined else "")


def _leave_form(site: Site, team: str, csrf_token: str) -> str:
    return f"""<details><summary>Leave this team</summary>
<p>All your apps are disconnected, and keys that the team has given you end. You see its videos no longer; what you have
spent stays in its books. You come back with a new invitation.</p>
<form method="post" action="{escape(site.public_url)}/account">
<input type="hidden" name="token" value="{escape(csrf_token)}">
<div class="buttons"><button name="action" value="leave">Leave the team {team}</button></div>
</form></details>"""


def _credential_form(site: Site, view: PersonTeamView, backend: str, csrf_token: str) -> str:
    stored_note = f"A token of {backend} is set: <code>{escape(', '.join(view.hints))}</code>"
    missing_note = f"No token of {backend} is set, so your apps cannot make or see videos yet."
    return f"""<h2>Your token of {backend}</h2>
<p>The team is yours alone, and what you make is paid with your token. {stored_note if view.hints else missing_note}</p>
<form method="post" action="{escape(site.public_url)}/account">
<input type="hidden" name="token" value="{escape(csrf_token)}">
<label>Token <input type="password" name="secret" autocomplete="off" spellcheck="false" required></label>
<div class="buttons"><button name="action" value="credential">Save the token</button></div>
</form>
<p class="soft">It is kept encrypted, and never shown again. A new token replaces the one before.</p>"""
