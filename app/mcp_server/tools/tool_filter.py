"""The filter of tools by the settings of a client. It leaves tools out and never adds one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToolFilter:
    """The tools that the settings of a connection leave out.

    Attributes:
        is_read_only: whether billable tools are left out.
        names: only these tools are kept; None keeps all. Unknown names have no effect.

    """

    is_read_only: bool = False
    names: frozenset[str] | None = None

    def hides(self, name: str, *, is_billable: bool) -> bool:
        """Return whether a tool is left out."""
        return (self.is_read_only and is_billable) or (self.names is not None and name not in self.names)


ALL_TOOLS = ToolFilter()
