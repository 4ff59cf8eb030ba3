"""Backends in memory: one that does nothing, for tests to derive from, and a whole one that is not AceDataCloud."""

from collections.abc import Callable, Sequence
from typing import Self

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.backend import BackendDescription
from app.domain.generation import Command
from app.domain.principal import Principal
from app.ports.backend import CallbackReport, Health, Reading


class NoBackend:
    """A VideoBackend of which a test overrides what it needs."""

    description: BackendDescription = ACEDATACLOUD

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def find_tasks(
        self, principal: Principal, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> Reading:
        raise NotImplementedError

    async def submit(self, principal: Principal, command: Command) -> str:
        raise NotImplementedError

    async def find_by_callback(
        self, principal: Principal, command: Command, claimed: Sequence[str], is_its_url: Callable[[str], bool]
    ) -> str | None:
        raise NotImplementedError

    def parse_callback(self, body: bytes) -> CallbackReport | None:
        raise NotImplementedError

    async def check(self, seconds: float) -> Health:
        raise NotImplementedError
