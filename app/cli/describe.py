"""Generates .env.example and parts of the documents from the tools, the settings and the sandbox.

`luma-mcp describe` prints the tables of tools and settings. `python -m app.cli.describe`, run in the repository,
rewrites the files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.sandbox.tasks import PROMPT_WORDS
from app.mcp_server.tools.catalog import build_catalog
from app.mcp_server.tools.definition import BILLABLE
from app.settings import PREFIX, Settings
from app.web.accepted_tokens import accepted_tokens
from app.web.admin.operations import ADMIN_PATH, COMMAND_LINE_ONLY, OPERATIONS, Operation
from app.web.client_setup import clients, curl

LOCAL_URL = "http://127.0.0.1:8000/mcp"


def tools_table() -> str:
    """Return a Markdown table of the tools: parameters with defaults, cost, and the description's first sentence."""
    rows = ["| tool | parameters | credits | what it does |", "|---|---|---|---|"]
    for tool in build_catalog(Settings.model_fields["batch_limit"].default, ACEDATACLOUD):
        schema = tool.published().input_schema
        required = schema.get("required", [])
        names = [_parameter(name, field, required) for name, field in schema.get("properties", {}).items()]
        cost = "spends" if tool.annotations == BILLABLE else "free"
        first_sentence = tool.description.partition("\n\n")[0].partition(". ")[0].rstrip(".")
        rows.append(f"| `{tool.name}` | {', '.join(names) or 'none'} | {cost} | {first_sentence}. |")
    return "\n".join(rows)


def settings_table() -> str:
    """Return a Markdown table of the settings: variable, default, meaning."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |")
    return "\n".join(rows)


def sandbox_table() -> str:
    """Return a Markdown table of the words in a prompt that choose an outcome in the sandbox."""
    rows = ["| word in the prompt | what happens |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{word}` | {outcome} |" for word, outcome in PROMPT_WORDS.items())])


def admin_table() -> str:
    """Return a Markdown table of the administrative commands, each with the HTTP request that does the same."""
    rows = ["| command | over HTTP | body or query |", "|---|---|---|"]
    rows += [
        f"| `{operation.command}` | `{operation.method} {ADMIN_PATH}{operation.path}` | {_fields(operation)} |"
        for operation in OPERATIONS
    ]
    return "\n".join([*rows, *(f"| `{name}` | no: {reason} | |" for name, reason in COMMAND_LINE_ONLY.items())])


def setup_sections() -> str:
    """Return the instructions for each client, in Markdown."""
    parts = []
    for client in clients("https://luma.example.com/mcp", accepted_tokens(["passthrough"], ACEDATACLOUD).placeholder):
        language = "json" if client.paste.startswith("{") else "bash"
        parts.append(f"**{client.name}** ({client.steps})\n\n```{language}\n{client.paste}\n```")
    return "\n\n".join(parts)


def generated_parts() -> Mapping[str, Mapping[str, str]]:
    """Return the generated parts by the path of their document, then by the name in their markers."""
    return {
        "README.md": {"curl": f"```bash\n{curl(LOCAL_URL, 'anything')}\n```"},
        "docs/clients.md": {"setup": setup_sections()},
        "docs/tools.md": {"tools": tools_table(), "sandbox": sandbox_table()},
        "docs/teams.md": {"admin": admin_table()},
        "docs/settings.md": {"settings": settings_table()},
    }


def refreshed(text: str, parts: Mapping[str, str]) -> str:
    """Return the document `text` with each part replaced. Parts are between `<!-- NAME -->` and `<!-- /NAME -->`.

    Raises ValueError if the markers of a part are missing.
    """
    for name, part in parts.items():
        before, opening, after_opening = text.partition(f"<!-- {name} -->\n")
        _, closing, after = after_opening.partition(f"\n<!-- /{name} -->")
        if not opening or not closing:
            raise ValueError(f"the document lacks the markers <!-- {name} --> and <!-- /{name} -->")
        text = f"{before}{opening}{part}{closing}{after}"
    return text


def _fields(operation: Operation) -> str:
    """Return the names of the fields in an operation's body and query. Optional ones end with a question mark."""
    fields = {**operation.body.model_fields, **operation.query.model_fields}
    return ", ".join(f"`{name}{'' if field.is_required() else '?'}`" for name, field in fields.items())


def _parameter(name: str, schema: Mapping[str, Any], required: list[str]) -> str:
    if name in required:
        return f"`{name}`"
    return f"`{name} = {json.dumps(schema.get('default'))}`"


def _default(value: object) -> str:
    """Return a setting's default for Markdown. Secrets have no default."""
    if value is None or isinstance(value, SecretStr):
        return "unset"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value) or "none"
    return f"`{value:.0f}`" if isinstance(value, float) and value.is_integer() else f"`{value}`"


def env_example() -> str:
    """Return the text of .env.example: each setting with its description, and its default commented out."""
    parts = ["# Copy to .env and set what differs. Lines that are commented out show the defaults."]
    for name, field in Settings.model_fields.items():
        meaning = (field.description or "").replace("`", "")
        parts.append(f"# {meaning}\n#{PREFIX}{name.upper()}={_env_value(field.default)}")
    return "\n\n".join(parts) + "\n"


def _env_value(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None or isinstance(value, SecretStr) else _default(value).strip("`")


def main() -> None:
    """Rewrite the documents and .env.example in the current folder."""
    for name, parts in generated_parts().items():
        path = Path(name)
        path.write_text(refreshed(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
    Path(".env.example").write_text(env_example(), encoding="utf-8")


if __name__ == "__main__":
    main()
