"""Loads the secrets behind tokens from the database on first use."""

from collections.abc import Awaitable, Callable

from app.ports.sign_in import TokenMint


class OpenMint:
    """The TokenMint of a process, loaded from the database on first use.

    Attributes:
        known: the mint; None until it is loaded.

    """

    def __init__(self, opening: Callable[[], Awaitable[TokenMint]]) -> None:
        """Load the mint with `opening`, which raises DatabaseUnavailable and may be called several times."""
        self._opening = opening
        self.known: TokenMint | None = None

    async def mint(self) -> TokenMint:
        """Return the mint. Raises DatabaseUnavailable."""
        if self.known is None:
            self.known = await self._opening()
        return self.known
