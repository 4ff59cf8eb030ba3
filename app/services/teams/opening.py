"""Opens the directory of teams in the background, and keeps its cache up to date."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Generic, TypeVar

from app.ports.directory import Directory
from app.ports.repositories import DatabaseUnavailable
from app.services.log_throttle import ThrottledExceptionLog
from app.services.teams.directory_cache import DirectoryCache

FIRST_ATTEMPT_SECONDS = 2.0
"""Maximum time for which the start of the service waits for the first attempt to open the directory."""

RETRY_SECONDS = 2.0
"""Pause before the next attempt to open the directory after a failure."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class TeamDirectory(Generic[T]):
    """The directory of teams in a serving process, with its cache. It is opened in the background.

    T is the type of the digest function for team keys. That function needs the pepper, a secret in the database, which
    is read when the directory is opened.
    """

    def __init__(
        self,
        cache: DirectoryCache,
        repositories: Directory,
        open_directory: Callable[[], Awaitable[T]],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Follow the directory with `cache`. `open_directory` opens it and returns the digest function for team keys.

        `repositories` read and write the directory, for other parts of the service.
        If `open_directory` raises an exception, such as DatabaseUnavailable or CannotOpen, it is called again after
        RETRY_SECONDS.
        """
        self.cache = cache
        self.repositories = repositories
        self._open_directory = open_directory
        self._sleep = sleep
        self._digest: T | None = None
        self._attempted = asyncio.Event()
        self._faults = ThrottledExceptionLog(
            log, "The directory of teams could not be opened, so team keys get 503. It is tried again"
        )

    def digest(self) -> T | None:
        """Return the digest function for team keys; None until the directory has been opened."""
        return self._digest

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the directory, and follow its changes, inside `async with`.

        Entering waits for the first attempt, because keys get 503 until the directory is open.
        """
        tasks = [asyncio.create_task(self._open()), asyncio.create_task(self.cache.run())]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_ATTEMPT_SECONDS):
                    await self._attempted.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _open(self) -> None:
        while self._digest is None:
            try:
                self._digest = await self._open_directory()
            except DatabaseUnavailable:
                pass
            except Exception as exc:  # noqa: BLE001 - another secret key, or a pepper that was changed
                self._faults.note(exc)
            self._attempted.set()
            if self._digest is None:
                await self._sleep(RETRY_SECONDS)
