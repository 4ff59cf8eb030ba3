"""The landing page at /: the service's address, its tools, and how to add it to clients."""

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from app.adapters.sandbox.tasks import PROMPT_WORDS
from app.mcp_server.tools.definition import BILLABLE, LumaTool
from app.web.client_setup import clients

SANDBOX_NOTE = (
    "This is a sandbox: it makes no real videos, needs no account and accepts any token. Words in a prompt choose "
    "what happens:"
)

DOUBTFUL_NOTE = (
    "This address may be wrong, because the page was opened through a proxy that this service does not trust. The "
    "operator of this service can set LUMA_MCP_PUBLIC_URL to its public address, or list the proxy in "
    "LUMA_MCP_TRUSTED_PROXIES."
)


def page(
    base_url: str, tools: Sequence[LumaTool], backend_name: str, *, sandbox: bool, is_doubtful: bool = False
) -> str:
    """Return the HTML page for the service at `base_url`; if `is_doubtful`, it says that this URL may be wrong."""
    url = f"{base_url}/mcp"
    return _template().substitute(
        url=escape(url),
        backend=escape(backend_name),
        notice=(f'<div class="notice">{escape(DOUBTFUL_NOTE)}</div>' if is_doubtful else "")
        + (_notice() if sandbox else ""),
        clients="".join(_client(client.name, client.where, client.paste) for client in clients(url, backend_name)),
        tools="".join(_tool(tool) for tool in tools),
    )


@cache
def _template() -> Template:
    return Template(files("app.web.pages").joinpath("landing.html").read_text(encoding="utf-8"))


def _notice() -> str:
    words = "".join(f"<li><code>{escape(word)}</code> {escape(does)}</li>" for word, does in PROMPT_WORDS.items())
    return f'<div class="notice">{escape(SANDBOX_NOTE)}<ul>{words}</ul></div>'


def _client(name: str, where: str, paste: str) -> str:
    return f"<h3>{escape(name)} <small>{escape(where)}</small></h3><pre><code>{escape(paste)}</code></pre>"


def _tool(tool: LumaTool) -> str:
    cost = "costs credits" if tool.annotations == BILLABLE else "free"
    return f"<tr><td><code>{escape(tool.name)}</code></td><td>{escape(tool.title)}</td><td>{cost}</td></tr>"
