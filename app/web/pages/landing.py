"""The landing page at /: the service's address, its tools, and how to add it to clients."""

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from app.adapters.sandbox.tasks import PROMPT_WORDS
from app.mcp_server.tools.definition import BILLABLE, LumaTool
from app.web.accepted_tokens import AcceptedTokens
from app.web.client_setup import clients, clients_that_sign_in

SANDBOX_NOTE = (
    "This is a sandbox: it makes no real videos, needs no account and accepts any token. Words in a prompt choose "
    "what happens:"
)

UNCERTAIN_URL_NOTE = (
    "This address may be wrong, because the page was opened through a proxy that this service does not trust. The "
    "operator of this service can set LUMA_MCP_PUBLIC_URL to its public address, or list the proxy in "
    "LUMA_MCP_TRUSTED_PROXIES."
)


WITH_HEADER = "Add this URL to your agent platform, with {tokens}:"
BY_SIGN_IN = "Add this URL to your agent platform and press Connect. You sign in with {login}:"
SIGN_IN_HANDLING = (
    "An app that you connect gets a token of this service, never one of {login}. You can see and end these "
    "connections on"
)


def page(  # noqa: PLR0913 - the facts that the page shows
    base_url: str,
    tools: Sequence[LumaTool],
    backend_name: str,
    tokens: AcceptedTokens,
    *,
    is_sandbox: bool,
    is_url_uncertain: bool = False,
    identity_provider_name: str | None = None,
) -> str:
    """Return the HTML page for the service at `base_url`. If `is_url_uncertain`, it says that the URL may be wrong.

    `identity_provider_name` is the name of the upstream login with which people sign in; None without sign-in.
    """
    url = f"{base_url}/mcp"
    names = {"tokens": tokens.names, "login": identity_provider_name or ""}
    account = f' <a href="{escape(base_url)}/account">your account page</a>.'
    return _template().substitute(
        how=escape((WITH_HEADER if identity_provider_name is None else BY_SIGN_IN).format(**names)),
        token=escape(tokens.handling)
        if identity_provider_name is None
        else escape(SIGN_IN_HANDLING.format(**names)) + account,
        connect="" if identity_provider_name is None else _connect_section(url),
        setup="Set it up"
        if identity_provider_name is None
        else "With a token instead: programs, curl, and clients without sign-in",
        url=escape(url),
        backend=escape(backend_name),
        notice=(f'<div class="notice">{escape(UNCERTAIN_URL_NOTE)}</div>' if is_url_uncertain else "")
        + (_sandbox_notice() if is_sandbox else ""),
        clients="".join(
            _client(client.name, client.steps, client.paste) for client in clients(url, tokens.placeholder)
        ),
        tools="".join(_tool_row(tool) for tool in tools),
    )


def _connect_section(url: str) -> str:
    sections = "".join(_client(client.name, client.steps, client.paste) for client in clients_that_sign_in(url))
    return f"<h2>Connect</h2>{sections}"


@cache
def _template() -> Template:
    return Template(files("app.web.pages").joinpath("landing.html").read_text(encoding="utf-8"))


def _sandbox_notice() -> str:
    words = "".join(f"<li><code>{escape(word)}</code> {escape(does)}</li>" for word, does in PROMPT_WORDS.items())
    return f'<div class="notice">{escape(SANDBOX_NOTE)}<ul>{words}</ul></div>'


def _client(name: str, steps: str, paste: str) -> str:
    return f"<h3>{escape(name)} <small>{escape(steps)}</small></h3><pre><code>{escape(paste)}</code></pre>"


def _tool_row(tool: LumaTool) -> str:
    cost = "costs credits" if tool.annotations == BILLABLE else "free"
    return f"<tr><td><code>{escape(tool.name)}</code></td><td>{escape(tool.title)}</td><td>{cost}</td></tr>"
