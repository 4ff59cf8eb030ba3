"""Fake VideoBackends: `NoBackend`, a base class whose methods raise, and `Studio`, a second vendor in memory."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.access import Credential
from app.domain.backend import BackendDescription, BackendPolicy, Capabilities, Price
from app.domain.errors import BackendError, OutcomeUnknown, RateLimited, Unauthorized
from app.domain.freshness import PollingPolicy
from app.domain.generation import Command
from app.domain.task import LookupResult, Task, TaskState, Video
from app.ports.backend import BatchResult, CallbackReport, Health
from tests.support.clock import HandClock


class NoBackend:
    """A VideoBackend whose methods raise NotImplementedError. Tests override those that they need."""

    description: BackendDescription = ACEDATACLOUD

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def find_tasks(
        self, credential: Credential, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> BatchResult:
        raise NotImplementedError

    async def submit(self, credential: Credential, command: Command) -> str:
        raise NotImplementedError

    async def find_by_callback(
        self,
        credential: Credential,
        command: Command,
        reported_ids: Sequence[str],
        is_purchase_callback: Callable[[str], bool],
    ) -> str | None:
        raise NotImplementedError

    def parse_callback(self, body: bytes) -> CallbackReport | None:
        raise NotImplementedError

    async def check(self, seconds: float) -> Health:
        raise NotImplementedError


@dataclass
class Generation:
    """One submitted generation: `began_at` is by the test's clock, `callback_url` None if none was given."""

    id: str
    began_at: float
    prompt: str
    callback_url: str | None


class Studio(NoBackend):
    """A backend that differs from AceDataCloud wherever the port allows.

    It lists its tasks, and a callback may report a running one. The token "refused" fails authorization. These prompts
    have an effect: "lost" starts a task but raises OutcomeUnknown, "busy" raises RateLimited, and reads of a "hidden"
    task fail.
    """

    description = BackendDescription(
        name="Studio One",
        account_url="https://studio.example.com/account",
        address="https://api.studio.example.com/v1",
        capabilities=Capabilities(aspect_ratios=("16:9", "9:16"), calls_back=True),
        policy=BackendPolicy(
            polling=PollingPolicy(
                expected_seconds=40.0,
                first_read_seconds=20.0,
                min_read_interval_seconds=10.0,
                max_read_interval_seconds=10.0,
                read_without_callback_seconds=90.0,
                client_first_poll_seconds=25,
                client_poll_interval_seconds=7,
                stuck_after_seconds=300.0,
            ),
            duration="half a minute",
            link_life_seconds=7 * 86_400.0,
            generations_at_once=2,
            price=Price(4050, "US cents"),
        ),
    )

    def __init__(self, clock: HandClock, *, seconds: float = 40.0) -> None:
        """Finish each generation `seconds` after its submission, by the test's clock."""
        self._clock = clock
        self._seconds = seconds
        self.made: dict[str, Generation] = {}
        self.read_at: list[float] = []
        self.under_way, self.most_under_way = 0, 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def find_tasks(
        self, credential: Credential, task_ids: Sequence[str], on_send: Callable[[], None] | None = None
    ) -> BatchResult:
        self.read_at.append(self._clock())
        return BatchResult({task_id: self._found(credential, task_id) for task_id in task_ids}, calls=len(task_ids))

    async def submit(self, credential: Credential, command: Command) -> str:
        if command.prompt == "busy":
            raise self.description.error(RateLimited, retry_after_seconds=60.0)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.may_answer.wait()
        self.under_way -= 1
        made = Generation(f"studio-{len(self.made)}", self._clock(), command.prompt, command.callback_url)
        self.made[made.id] = made
        if command.prompt == "lost":
            raise self.description.error(OutcomeUnknown)
        return made.id

    async def find_by_callback(
        self,
        credential: Credential,
        command: Command,
        reported_ids: Sequence[str],
        is_purchase_callback: Callable[[str], bool],
    ) -> str | None:
        urls = {made.id: made.callback_url for made in self.made.values() if made.callback_url is not None}
        return next((task_id for task_id, url in urls.items() if is_purchase_callback(url)), None)

    def parse_callback(self, body: bytes) -> CallbackReport | None:
        event = json.loads(body)
        return CallbackReport(event["id"], has_ended=event["state"] == "completed")

    def _found(self, credential: Credential, task_id: str) -> LookupResult:
        made = self.made.get(task_id)
        if credential.secret == "refused":
            return self.description.error(Unauthorized)
        if made is None:
            return None
        if made.prompt == "hidden":
            return self.description.error(BackendError)
        ends_at = made.began_at + self._seconds
        if self._clock() < ends_at:
            return Task(task_id, TaskState.PROCESSING, created_at=made.began_at)
        video = Video(f"https://cdn.studio.example.com/{task_id}.mp4", expires_at=ends_at + 3600.0)
        return Task(task_id, TaskState.COMPLETED, video=video, created_at=made.began_at, finished_at=ends_at)
