"""The supported revisions of the MCP protocol, the oldest first."""

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

LEGACY_VERSIONS = ("2025-03-26", "2025-06-18", "2025-11-25")
SUPPORTED_VERSIONS = (*LEGACY_VERSIONS, *MODERN_PROTOCOL_VERSIONS)
