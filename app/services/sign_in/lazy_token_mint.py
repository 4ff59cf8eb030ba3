"""Loads the secrets behind tokens from the database on first use."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from app.ports.sign_in import TokenMint


class LazyTokenMint:
    """The TokenMint of a process, loaded from the database on first use.

    Attributes:
        loaded: the mint; None until it is loaded.

    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, TokenMint]]) -> None:
        """Make the mint with `make`, which raises DatabaseUnavailable."""
        self._make = make
        self._loading: asyncio.Task[TokenMint] | None = None
        self.loaded: TokenMint | None = None

    async def load(self) -> TokenMint:
        """Return the mint, loaded if necessary. Concurrent calls share one load. Raises DatabaseUnavailable."""
        if self.loaded is None:
            if self._loading is None or self._loading.done():
                self._loading = asyncio.create_task(self._make())
            loading = self._loading  # another call may replace `_loading` before this one resumes
            await asyncio.wait([loading])
            self.loaded = loading.result()
        return self.loaded
