"""Instructions for adding this server to MCP clients, shown on the landing page, in README.md and docs/clients.md."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientSetup:
    """The instructions for one client.

    Attributes:
        steps: where to paste the text, such as "in a terminal", and what else is needed.
        paste: the text: a command, a JSON configuration or a URL.

    """

    name: str
    steps: str
    paste: str


def clients(url: str, token: str) -> tuple[ClientSetup, ...]:
    """Return the instructions for clients that send `token`, a placeholder. `url` is the MCP endpoint."""
    headers = {"Authorization": f"Bearer {token}"}
    by_name = {"luma": {"url": url, "headers": headers}}
    return (
        ClientSetup(
            "Claude Code",
            "in a terminal",
            f'claude mcp add --transport http luma {url} --header "Authorization: Bearer {token}"',
        ),
        ClientSetup(
            "Claude Desktop",
            "in claude_desktop_config.json; needs Node for the mcp-remote bridge",
            _pretty(
                {
                    "mcpServers": {
                        "luma": {
                            "command": "npx",
                            "args": ["-y", "mcp-remote", url, "--header", "Authorization:${LUMA_AUTHORIZATION}"],
                            "env": {"LUMA_AUTHORIZATION": f"Bearer {token}"},
                        }
                    }
                }
            ),
        ),
        ClientSetup("Cursor", "in ~/.cursor/mcp.json", _pretty({"mcpServers": by_name})),
        ClientSetup(
            "VS Code", "in .vscode/mcp.json", _pretty({"servers": {"luma": {"type": "http", **by_name["luma"]}}})
        ),
        ClientSetup("curl", "in a terminal", curl(url, token)),
    )


def clients_that_sign_in(url: str) -> tuple[ClientSetup, ...]:
    """Return the instructions for clients that sign in with OAuth. `url` is the MCP endpoint."""
    return (
        ClientSetup(
            "Claude, ChatGPT and other web apps", "under connectors or apps: paste the URL, press Connect", url
        ),
        ClientSetup(
            "Claude Code", "in a terminal, then /mcp in Claude Code", f"claude mcp add --transport http luma {url}"
        ),
        ClientSetup("Codex", "in a terminal", f"codex mcp add luma --url {url} && codex mcp login luma"),
        ClientSetup("Cursor", "in ~/.cursor/mcp.json", _pretty({"mcpServers": {"luma": {"url": url}}})),
        ClientSetup("VS Code", "in .vscode/mcp.json", _pretty({"servers": {"luma": {"type": "http", "url": url}}})),
    )


def curl(url: str, token: str) -> str:
    """Return a shell command that generates a video with curl."""
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "luma_generate_video",
            "arguments": {"prompt": "A red fox trots through fresh snow at dawn"},
        },
    }
    return (
        f"curl -s {url} \\\n  -H 'Authorization: Bearer {token}' \\\n  -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(call)}'"
    )


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2)
