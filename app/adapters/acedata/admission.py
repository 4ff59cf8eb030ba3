"""Admits calls to AceDataCloud: limits their concurrency, and rejects tokens that it has just refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from app.adapters.acedata.errors import Complaint, shows_invalid_token, shows_valid_token
from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.access import Credential
from app.domain.errors import RateLimited, Unauthorized
from app.ports.telemetry import Telemetry
from app.services.limits.backend_limits import BackendLimits

TOO_MANY_SUBMISSIONS = "This service has too many submissions in progress. Nothing was sent: try again shortly."


class BackendAdmission:
    """Admits calls within `BackendLimits`, and records whether AceDataCloud accepted the token of each response."""

    def __init__(self, backend_limits: BackendLimits, telemetry: Telemetry, longest_wait_seconds: float) -> None:
        """Let submissions queue for at most `longest_wait_seconds`. Reads queue until their own deadline."""
        self._backend_limits = backend_limits
        self._telemetry = telemetry
        self._longest_wait_seconds = longest_wait_seconds

    @asynccontextmanager
    async def reading(self, credential: Credential) -> AsyncIterator[None]:
        """Hold one of the places for reads while entered. Raises Unauthorized for a token that was just refused."""
        async with self._backend_limits.reads.place(credential.id):
            self._check_token_status(credential)
            yield

    @asynccontextmanager
    async def submitting(self, credential: Credential) -> AsyncIterator[None]:
        """Hold one of the places for submissions while entered.

        Raises RateLimited after too long in the queue, and Unauthorized for a token that was just refused.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._longest_wait_seconds):
                    await stack.enter_async_context(self._backend_limits.purchases.place(credential.id))
            except TimeoutError:
                self._telemetry.call_withheld("queue_slow")
                raise RateLimited(TOO_MANY_SUBMISSIONS) from None
            self._check_token_status(credential)
            yield

    def record_success(self, credential: Credential) -> None:
        """Record that AceDataCloud accepted the token."""
        self._backend_limits.token_status.accept(credential.id)

    def record_error(self, credential: Credential, complaint: Complaint, status: int) -> None:
        """Record whether AceDataCloud accepted the token, if the error shows that."""
        if shows_invalid_token(complaint, status):
            self._backend_limits.token_status.refuse(credential.id)
        elif shows_valid_token(complaint):
            self._backend_limits.token_status.accept(credential.id)

    def _check_token_status(self, credential: Credential) -> None:
        if self._backend_limits.token_status.just_refused(credential.id):
            self._telemetry.call_withheld("token_refused")
            raise ACEDATACLOUD.error(Unauthorized)
