"""Reads the tool filter of a request, which leaves tools out, from its path and headers."""

from collections.abc import Iterable

from app.domain.oauth import READ_ONLY_PATH
from app.mcp_server.tools.tool_filter import ALL_TOOLS, ToolFilter

READ_ONLY_PATHS = (READ_ONLY_PATH, f"{READ_ONLY_PATH}/")
READ_ONLY_KEY = "luma_mcp.read_only"
"""Key that is in the ASGI scope of a request to one of READ_ONLY_PATHS."""

PREFIX = b"x-mcp-"
READ_ONLY_HEADER = b"x-mcp-readonly"
TOOLS_HEADER = b"x-mcp-tools"
OFF_VALUES = frozenset((b"", b"false", b"0", b"no", b"off"))
"""Values of READ_ONLY_HEADER without effect. Any other, such as a misspelt `true`, makes the request read-only."""

MAX_HEADER_LENGTH = 4096
"""Only this many characters of TOOLS_HEADER are read. Tools that are named further on are left out."""


def tool_filter_of(headers: Iterable[tuple[bytes, bytes]], *, is_read_only: bool) -> ToolFilter:
    """Return the tool filter of a request. Header names must be in lower case; `is_read_only` comes from the path.

    If TOOLS_HEADER is repeated, a tool must be named in each.
    """
    names: frozenset[str] | None = None
    for name, value in headers:
        if not name.startswith(PREFIX):
            continue
        if name == READ_ONLY_HEADER:
            is_read_only = is_read_only or value.strip().lower() not in OFF_VALUES
        elif name == TOOLS_HEADER:
            allowed = frozenset(item.strip() for item in value[:MAX_HEADER_LENGTH].decode("latin-1").split(","))
            names = allowed if names is None else names & allowed
    return ToolFilter(is_read_only, names) if is_read_only or names is not None else ALL_TOOLS
