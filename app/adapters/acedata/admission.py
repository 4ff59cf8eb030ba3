"""Admission of calls to AceDataCloud: a free place, and a token that was not refused just now."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from app.adapters.acedata.errors import Complaint, accepts_the_token, refuses_the_token
from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.access import Credential
from app.domain.errors import RateLimited, Unauthorized
from app.ports.telemetry import Telemetry
from app.services.limits.backend_limits import BackendLimits

NO_PLACE = "This service has as many submissions under way as it may have at once. Nothing was sent: try again shortly."


class BackendAdmission:
    """Admits calls within `BackendLimits`, and records whether the backend accepted each token."""

    def __init__(self, backend_limits: BackendLimits, telemetry: Telemetry, longest_wait_seconds: float) -> None:
        """Let submissions wait at most `longest_wait_seconds`. Reads have a deadline of their own."""
        self._backend_limits = backend_limits
        self._telemetry = telemetry
        self._longest_wait_seconds = longest_wait_seconds

    @asynccontextmanager
    async def reading(self, credential: Credential) -> AsyncIterator[None]:
        """Hold a place for a read. Raises Unauthorized."""
        async with self._backend_limits.reads.place(credential.id):
            self._check_token_status(credential)
            yield

    @asynccontextmanager
    async def submitting(self, credential: Credential) -> AsyncIterator[None]:
        """Hold a place for a submission. Raises RateLimited and Unauthorized, before anything is sent."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._longest_wait_seconds):
                    await stack.enter_async_context(self._backend_limits.purchases.place(credential.id))
            except TimeoutError:
                self._telemetry.call_withheld("queue_slow")
                raise RateLimited(NO_PLACE) from None
            self._check_token_status(credential)
            yield

    def was_answered(self, credential: Credential) -> None:
        """Record that the backend accepted the token."""
        self._backend_limits.token_status.accept(credential.id)

    def was_turned_down(self, credential: Credential, complaint: Complaint, status: int) -> None:
        """Record a refused or accepted token, if the complaint tells."""
        if refuses_the_token(complaint, status):
            self._backend_limits.token_status.refuse(credential.id)
        elif accepts_the_token(complaint):
            self._backend_limits.token_status.accept(credential.id)

    def _check_token_status(self, credential: Credential) -> None:
        if self._backend_limits.token_status.just_refused(credential.id):
            self._telemetry.call_withheld("token_refused")
            raise ACEDATACLOUD.error(Unauthorized)
