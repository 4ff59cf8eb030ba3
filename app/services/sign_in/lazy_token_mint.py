"""Loads the secrets behind tokens from the database on first use."""

from collections.abc import Awaitable, Callable

from app.ports.sign_in import TokenMint


class LazyTokenMint:
    """The TokenMint of a process, loaded from the database on first use.

    Attributes:
        loaded: the mint; None until it is loaded.

    """

    def __init__(self, make: Callable[[], Awaitable[TokenMint]]) -> None:
        """Make the mint with `make`, which raises DatabaseUnavailable and may be called concurrently."""
        self._make = make
        self.loaded: TokenMint | None = None

    async def load(self) -> TokenMint:
        """Return the mint, after loading it if necessary. Raises DatabaseUnavailable."""
        if self.loaded is None:
            self.loaded = await self._make()
        return self.loaded
