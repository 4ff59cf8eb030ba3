"""The pages of sign-in: consent, account and messages. They have no scripts and no external resources.

Texts are escaped here. Only the arguments that are documented as HTML are inserted as they are.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from app.domain.access import Scope
from app.domain.redirects import is_loopback, shown_host
from app.domain.sign_in import AuthorizationRequest, Grant, OAuthClient, Registration

_PERMISSIONS = {
    Scope.READ: "See the videos and tasks of your account",
    Scope.GENERATE: "Make videos, which costs credits of your account",
}
_LOOPBACK_WARNING = (
    "The app runs on this computer. Approve only if you have just started to connect it yourself: any program on this "
    "computer can use this name."
)


@dataclass(frozen=True, slots=True)
class Site:
    """The facts of this service that the pages show.

    Attributes:
        public_url: has no slash at its end.
        identity_provider_name: the provider with which people sign in, such as "Google".

    """

    public_url: str
    identity_provider_name: str

    @property
    def address(self) -> str:
        """The public URL without its scheme: the host, with a port and a path if the URL has them."""
        return self.public_url.partition("://")[2]


def consent_page(
    site: Site, request: AuthorizationRequest, client: OAuthClient, *, sealed: str, label: str | None
) -> str:
    """Return the consent page. `sealed` is the encrypted request, which the form returns in a hidden field.

    `label` names the account that the browser is signed in to; None before sign-in.
    """
    name = escape(client.name)
    facts = {
        "App": f'<strong>{name}</strong><br><span class="soft">{_provenance(client)}</span>',
        "Returns you to": _destination(request.redirect_uri),
        "It may": _bullet_list([text for scope, text in _PERMISSIONS.items() if scope in request.scopes]),
        "Account": escape(label) if label else f"You sign in with {escape(site.identity_provider_name)} next.",
    }
    warning = f'<p class="warning">{_LOOPBACK_WARNING}</p>' if is_loopback(request.redirect_uri) else ""
    choice = ""
    if Scope.GENERATE in request.scopes:
        choice = '<label><input type="checkbox" name="read_only" value="1">Only look: make no videos</label>'
    body = f"""<h1>Connect {name}?</h1>
<p>An app asks to use <strong>{escape(site.address)}</strong> on your behalf.</p>
{_definition_list(facts)}{warning}
<form method="post" action="{escape(site.public_url)}/authorize">
<input type="hidden" name="request" value="{escape(sealed)}">
{choice}
<div class="buttons"><button name="decision" value="deny">Deny</button>
<button class="go" name="decision" value="approve">Approve</button></div>
</form>
<p class="soft">You can disconnect it at any time:
<a href="{escape(site.public_url)}/account">your connected apps</a>.</p>"""
    return page(f"Connect {client.name}?", body)


def account_page(site: Site, label: str, grants: Sequence[Grant], *, csrf_token: str, team_html: str = "") -> str:
    """Return the page that lists the grants of a person.

    `label` names the person's account. `team_html` is the section about the person's team, as HTML.
    """
    sections = "".join(_grant_section(site, grant, csrf_token) for grant in grants)
    body = f"""<h1>Your connected apps</h1>
<p>Signed in to <strong>{escape(site.address)}</strong> as {escape(label)}.</p>
{team_html}{sections or '<p class="soft">No app is connected.</p>'}
<div class="buttons">{_button(site, csrf_token, "sign-out", "Sign out of this browser")}</div>
<p class="soft">Signing out leaves the apps connected. An app that you disconnect can no longer use your account.</p>"""
    return page("Your connected apps", body)


def account_login_page(site: Site, *, csrf_token: str) -> str:
    """Return the account page of a browser that is not signed in."""
    sign_in = f"Sign in with {site.identity_provider_name}"
    body = f"""<h1>Your connected apps</h1>
<p>{escape(sign_in)} to see which apps use <strong>{escape(site.address)}</strong> on your behalf, and to disconnect
them.</p>
<div class="buttons">{_button(site, csrf_token, "sign-in", sign_in, is_main=True)}</div>"""
    return page("Your connected apps", body)


def message_page(title: str, *paragraphs: str) -> str:
    """Return a page with a title and paragraphs of text."""
    return page(title, f"<h1>{escape(title)}</h1>" + "".join(f"<p>{escape(text)}</p>" for text in paragraphs))


def refused_request_page(reason: str, url: str) -> str:
    """Return the page for a request that was refused for `reason`, with a link to `url`, which tells the client."""
    title, host = "The app was not connected", escape(shown_host(url))
    body = f"""<h1>{title}</h1>
<p>The app has sent a request that this service does not accept: {escape(reason)}</p>
<p>Nobody has checked this app. Return to it only if you know its address:
<a href="{escape(url)}" rel="noreferrer">{host}</a></p>"""
    return page(title, body)


def page(title: str, body: str) -> str:
    """Return a complete page. `body` is HTML."""
    return _template().substitute(title=escape(title), style=style(), body=body)


@cache
def style() -> str:
    """Return the style sheet of the pages."""
    return files("app.web.pages").joinpath("sign_in.css").read_text(encoding="utf-8")


@cache
def style_hash() -> str:
    """Return the CSP source expression that allows this style sheet only."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()}'"


@cache
def _template() -> Template:
    return Template(files("app.web.pages").joinpath("sign_in.html").read_text(encoding="utf-8"))


def _definition_list(facts: dict[str, str]) -> str:
    """Return a list of terms and their facts, which are HTML."""
    return "<dl>" + "".join(f"<div><dt>{term}</dt><dd>{text}</dd></div>" for term, text in facts.items()) + "</dl>"


def _provenance(client: OAuthClient) -> str:
    """Return a sentence about the origin of the client's name, as HTML."""
    if client.registration is Registration.DOCUMENT:
        host = client.id.partition("://")[2].partition("/")[0]
        return f"This name comes from {escape(host)}, which has published it for this app."
    if client.registration is Registration.MANUAL:
        return "Registered by the operator of this service."
    return "The app has given itself this name. Nobody has checked it."


def _destination(redirect_uri: str) -> str:
    """Return the destination of a redirect URI as HTML: a program, an app with a private-use URI scheme, or a host."""
    host = escape(shown_host(redirect_uri))
    if is_loopback(redirect_uri):
        return f"a program on this computer ({host})"
    is_app_scheme = host.endswith(":")  # such as `cursor:`; a host never ends with a colon
    return f"an app on this computer ({host})" if is_app_scheme else host


def _bullet_list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def _grant_section(site: Site, grant: Grant, csrf_token: str) -> str:
    permission = "make videos and see them" if Scope.GENERATE in grant.scopes else "see videos"
    disconnect = _button(site, csrf_token, "end", "Disconnect", grant_id=grant.id, app_name=grant.client_name)
    last_use = f"last used {_date(grant.last_used_at)}" if grant.last_used_at is not None else "not used yet"
    return (
        f'<section class="grant"><div><h2>{escape(grant.client_name)}</h2>'
        f'<p class="soft">{escape(grant.redirect_host)} · '
        f"may {permission} · since {_date(grant.created_at)}, {last_use}</p></div>"
        f"{disconnect}</section>"
    )


def _button(  # noqa: PLR0913 - the form of a button
    site: Site,
    csrf_token: str,
    action: str,
    text: str,
    *,
    grant_id: str = "",
    app_name: str = "",
    is_main: bool = False,
) -> str:
    hidden = f'<input type="hidden" name="grant" value="{escape(grant_id)}">' if grant_id else ""
    label = f' aria-label="{escape(f"{text} {app_name}")}"' if app_name else ""
    css_class = ' class="go"' if is_main else ""
    return (
        f'<form method="post" action="{escape(site.public_url)}/account">'
        f'<input type="hidden" name="token" value="{escape(csrf_token)}">{hidden}'
        f'<button{css_class} name="action" value="{action}"{label}>{escape(text)}</button></form>'
    )


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%-d %B %Y, %H:%M UTC")
