"""The definition of a tool: its published data, and its handler."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp_types import Tool, ToolAnnotations

from app.domain.access import Scope
from app.domain.backend import BackendDescription
from app.domain.freshness import PollingPolicy
from app.mcp_server.tools.arguments import Arguments
from app.mcp_server.tools.schemas import input_schema, output_schema
from app.mcp_server.tools.tool_result import ToolResult
from app.ports.auth import Caller
from app.ports.coordination import Leases
from app.ports.sealing import Sealer, Signer
from app.services.key_namespace import KeyNamespace
from app.services.limits.caller_quota import CallerQuota
from app.services.polling.registry import PollerRegistry
from app.services.polling.waiter import TaskWaiter
from app.services.purchases.service import VideoService
from app.services.purchases.submitted_tasks import SubmittedTasks
from app.services.tasks.lookup import TaskService
from app.services.tasks.snapshots import TaskSnapshots

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
STATIC = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
BILLABLE = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)


@dataclass(frozen=True, slots=True)
class Services:
    """The services that tool handlers use.

    Attributes:
        listeners: the quota of `subscriptions/listen` streams.
        media_url: the URL under which this service serves videos; None outside the sandbox.
        own_hosts: the names of this service. URLs of callers must not lead there.

    """

    tasks: TaskService
    waiter: TaskWaiter
    videos: VideoService
    submitted: SubmittedTasks
    snapshots: TaskSnapshots
    pollers: PollerRegistry
    leases: Leases
    keys: KeyNamespace
    signing: Signer
    sealer: Sealer
    backend: BackendDescription
    listeners: CallerQuota
    wall_clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    media_url: str | None = None
    own_hosts: frozenset[str] = frozenset()

    @property
    def polling(self) -> PollingPolicy:
        """The polling policy of the backend."""
        return self.backend.policy.polling


Progress = Callable[[float, float, str], Awaitable[None]]
"""Sends progress: done, total, message. Does nothing unless the client asked for progress."""


@dataclass(frozen=True, slots=True)
class Call:
    """The caller of a tool, and its progress callback."""

    caller: Caller
    progress: Progress


@dataclass(frozen=True, slots=True)
class LumaTool:
    """One tool: description, argument and result types, the scope that a caller needs, and handler."""

    name: str
    title: str
    description: str
    annotations: ToolAnnotations
    arguments: type[Arguments]
    result: Any
    scope: Scope
    handler: Callable[[Services, Call, Any], Awaitable[ToolResult]]

    def published(self) -> Tool:
        """Return the tool as tools/list shows it."""
        return Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            annotations=self.annotations,
            input_schema=input_schema(self.arguments),
            output_schema=output_schema(self.result),
        )
