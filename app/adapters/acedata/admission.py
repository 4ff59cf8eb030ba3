"""Admits calls to AceDataCloud: limits their concurrency, and rejects tokens that AceDataCloud has just refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from app.adapters.acedata.errors import BackendErrorFields, shows_invalid_token, shows_valid_token
from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.access import Credential
from app.domain.errors import RateLimited, Unauthorized
from app.ports.telemetry import Telemetry
from app.services.limits.backend_limits import BackendLimits

TOO_MANY_SUBMISSIONS = "This service has too many submissions in progress. Nothing was sent: try again shortly."


class BackendAdmission:
    """Admits calls within `BackendLimits`, and records whether AceDataCloud accepted the token of each response."""

    def __init__(
        self,
        backend_limits: BackendLimits,
        telemetry: Telemetry,
        longest_wait_seconds: float,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Let a submission wait in the queue for `longest_wait_seconds`. The caller of `reading` limits its wait.

        `on_refusal` is called for each submission that is refused after this wait.
        """
        self._on_refusal = on_refusal
        self._backend_limits = backend_limits
        self._telemetry = telemetry
        self._longest_wait_seconds = longest_wait_seconds

    @asynccontextmanager
    async def reading(self, credential: Credential) -> AsyncIterator[None]:
        """Hold a slot of the reads' concurrency limit while entered, and wait for one without a timeout.

        Raises Unauthorized for a token that AceDataCloud has just refused.
        """
        async with self._backend_limits.reads.place(credential.id):
            self._check_token_status(credential)
            yield

    @asynccontextmanager
    async def submitting(self, credential: Credential) -> AsyncIterator[None]:
        """Hold a slot of the submissions' concurrency limit while entered.

        Raises RateLimited if no slot is free in time, and Unauthorized for a token that AceDataCloud has just refused.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._longest_wait_seconds):
                    await stack.enter_async_context(self._backend_limits.purchases.place(credential.id))
            except TimeoutError:
                self._telemetry.call_withheld("queue_slow")
                self._on_refusal()
                raise RateLimited(TOO_MANY_SUBMISSIONS) from None
            self._check_token_status(credential)
            yield

    async def wait_to_decode(self, credential: Credential, size: int) -> None:
        """Wait until a response of `size` bytes to a read may be decoded."""
        await self._backend_limits.work_turns.wait_for_body(credential.id, size)

    def record_success(self, credential: Credential) -> None:
        """Record that AceDataCloud accepted the token."""
        self._backend_limits.token_status.accept(credential.id)

    def record_error(self, credential: Credential, error_fields: BackendErrorFields, status: int) -> None:
        """Record whether AceDataCloud accepted the token. Nothing is recorded if the error does not show it."""
        if shows_invalid_token(error_fields, status):
            self._backend_limits.token_status.refuse(credential.id)
        elif shows_valid_token(error_fields):
            self._backend_limits.token_status.accept(credential.id)

    def _check_token_status(self, credential: Credential) -> None:
        if self._backend_limits.token_status.just_refused(credential.id):
            self._telemetry.call_withheld("token_refused")
            raise ACEDATACLOUD.error(Unauthorized)
