"""Narrowing: a client's own settings leave out tools. They never add one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What the settings of a connection leave of the tools.

    Attributes:
        is_read_only: billable tools are left out.
        names: the tools that are left, beside names that no tool has; None leaves all.

    """

    is_read_only: bool = False
    names: frozenset[str] | None = None

    def hides(self, name: str, *, is_billable: bool) -> bool:
        """Return whether a tool is left out."""
        return (self.is_read_only and is_billable) or (self.names is not None and name not in self.names)


NOT_NARROWED = Narrowing()
