"""Reads the keys of tokens from the database when they are first needed."""

from collections.abc import Awaitable, Callable

from app.ports.sign_in import TokenMint


class OpenMint:
    """The TokenMint of a process, once the database has been read."""

    def __init__(self, opening: Callable[[], Awaitable[TokenMint]]) -> None:
        """Read the keys with `opening`, which raises DatabaseUnavailable and may be called several times."""
        self._opening = opening
        self.known: TokenMint | None = None

    async def mint(self) -> TokenMint:
        """Return the mint. Raises DatabaseUnavailable."""
        if self.known is None:
            self.known = await self._opening()
        return self.known
