"""subscriptions/listen: a stream of notifications about changes of tasks.

A stream subscribes to the poller of its own tenant, so it never gets events of other tenants, and it gets those of all
replicas. The SDK's handler supports neither tenants nor the `taskIds` of the Tasks extension.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    RequestId,
    ResourceUpdatedNotification,
    ResourceUpdatedNotificationParams,
    ServerNotification,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)
from pydantic import BaseModel

from app.domain.access import Principal
from app.domain.errors import LumaError, RateLimited, Unauthorized
from app.domain.rendered import RenderedTask
from app.domain.task import TaskState
from app.mcp_server.extensions.task_handles import TaskHandle
from app.mcp_server.extensions.tasks import TasksExtension
from app.mcp_server.resources.tasks import task_id_in
from app.mcp_server.tools.call_handler import Context, RequestContext
from app.ports.auth import Caller
from app.services.concurrency import wait_first
from app.services.limits.caller_quota import CallerQuota
from app.services.polling.registry import PollerRegistry
from app.services.polling.subscription import Subscription
from app.services.polling.waiter import CHECK_SECONDS
from app.services.tasks.lookup import TaskService

MAX_TASKS = 100

MAX_SECONDS = 3600.0
"""Longest time of one stream, after which the client may open another.

The limit ends streams that no client reads any more.
"""

MAX_LISTENERS = 1_000
MAX_LISTENERS_PER_CALLER = 50
TOO_MANY_LISTENERS = (
    f"This service allows at most {MAX_LISTENERS_PER_CALLER} listeners per token and {MAX_LISTENERS} in all, and one "
    "of these limits is reached. Close one, or ask luma_get_tasks_batch with wait_seconds instead."
)


class TasksNotification(BaseModel):
    """The notification of the Tasks extension. Its parameters are the result of tasks/get."""

    method: Literal["notifications/tasks"] = "notifications/tasks"
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListenedTasks:
    """The tasks of one stream: those of resource URIs, and those of task handles. Both are keyed by task id."""

    uris: dict[str, str] = field(default_factory=dict)
    handles: dict[str, TaskHandle] = field(default_factory=dict)

    @property
    def task_ids(self) -> list[str]:
        """The distinct task ids."""
        return list(self.uris | dict.fromkeys(self.handles))

    def without(self, denied: Collection[str]) -> "ListenedTasks":
        """Return a copy without the task ids in `denied`."""
        return ListenedTasks(
            {task_id: uri for task_id, uri in self.uris.items() if task_id not in denied},
            {task_id: handle for task_id, handle in self.handles.items() if task_id not in denied},
        )


class SubscriptionStreams:
    """The handler of subscriptions/listen: each request is a stream.

    A stream ends if its client disconnects, the caller loses access, MAX_SECONDS have passed, or `close` is called.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the dependencies of a stream
        self,
        tasks: TaskService,
        pollers: PollerRegistry,
        places: CallerQuota,
        tasks_extension: TasksExtension,
        context: RequestContext,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """`tasks` decides which tasks a caller may see, and `pollers` provides their changes.

        Each stream holds one place of `places`. `context` provides the caller of each request. `sleep` takes seconds.
        """
        self._tasks = tasks
        self._pollers = pollers
        self._places = places
        self._tasks_extension = tasks_extension
        self._context = context
        self._sleep = sleep
        self._close_events: set[asyncio.Event] = set()

    async def __call__(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve one stream. Raises MCPError if there are too many streams or tasks, or for a token that was refused."""
        if ctx.request_id is None:
            raise MCPError(INVALID_REQUEST, "subscriptions/listen needs a request id.")
        caller = self._context.caller(ctx)
        listened = self._listened_tasks(ctx, caller.principal, params.notifications)
        denied = await self._tasks.access.denied(caller.principal, listened.task_ids)
        listened = listened.without(denied)
        await self._check_token(caller, listened)
        try:
            with self._places.place(caller.principal.subject, TOO_MANY_LISTENERS):
                await self._serve(ctx, ctx.request_id, params.notifications, caller, listened)
        except RateLimited as exc:
            data = {"code": exc.code.value, "retry_after_seconds": exc.retry_after_seconds}
            raise MCPError(INTERNAL_ERROR, str(exc), data) from exc
        return SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: ctx.request_id})

    async def _check_token(self, caller: Caller, listened: ListenedTasks) -> None:
        """Raise MCPError if the backend has refused the token, and does not accept it now.

        To verify the token, one task is read, if a verification is due.
        """
        if not listened.task_ids or not self._tasks.was_refused(caller.principal.subject):
            return
        (answer,) = (await self._tasks.find(caller, listened.task_ids[:1])).answers.values()
        if isinstance(answer, LumaError) and self._tasks.was_refused(caller.principal.subject):
            raise MCPError(INTERNAL_ERROR, str(answer)) from answer

    def close(self) -> None:
        """End every stream. Each sends its result as the last message."""
        for closing in self._close_events:
            closing.set()

    async def _serve(
        self,
        ctx: Context,
        request_id: RequestId,
        requested: SubscriptionFilter,
        caller: Caller,
        listened: ListenedTasks,
    ) -> None:
        closing = asyncio.Event()
        self._close_events.add(closing)
        expiry = asyncio.ensure_future(self._close_at_expiry(caller, closing))
        try:
            await self._acknowledge(ctx, request_id, requested, listened)
            await self._send_changes(ctx, caller, listened, closing)
        finally:
            expiry.cancel()
            self._close_events.discard(closing)

    async def _close_at_expiry(self, caller: Caller, closing: asyncio.Event) -> None:
        """Set `closing` after MAX_SECONDS, or when the caller's token is no longer accepted."""
        checks = 0 if caller.current is None else int(MAX_SECONDS / CHECK_SECONDS)
        for _ in range(checks):
            await self._sleep(CHECK_SECONDS)
            if not await _may_go_on(caller):
                break
        else:
            await self._sleep(MAX_SECONDS - checks * CHECK_SECONDS)
        closing.set()

    def _listened_tasks(self, ctx: Context, principal: Principal, requested: SubscriptionFilter) -> ListenedTasks:
        """Return the tasks in `requested`: those of valid task URIs and of handles that were made for this caller.

        Raises MCPError above MAX_TASKS, and for handles if the client does not declare the Tasks extension.
        """
        handle_texts, resource_uris = _handle_texts(requested), requested.resource_subscriptions or ()
        if len(resource_uris) + len(handle_texts) > MAX_TASKS:  # checked first, because opening a handle takes time
            raise MCPError(INVALID_PARAMS, f"One listener watches at most {MAX_TASKS} tasks. Open several.")
        uris = {task_id: uri for uri in resource_uris if (task_id := task_id_in(uri)) is not None}
        if handle_texts:
            self._tasks_extension.require_declared(ctx)
        opened = (self._tasks_extension.open(principal, text) for text in handle_texts)
        handles = {handle.task_id: handle for handle in opened if handle is not None}
        return ListenedTasks(uris, handles)

    async def _acknowledge(
        self, ctx: Context, request_id: RequestId, requested: SubscriptionFilter, listened: ListenedTasks
    ) -> None:
        handle_texts = [handle.text for handle in listened.handles.values()]
        honoured = SubscriptionFilter(
            resource_subscriptions=list(listened.uris.values()) or None,
            **({"taskIds": handle_texts} if _handle_texts(requested) else {}),
        )
        meta = {SUBSCRIPTION_ID_META_KEY: request_id}
        params = SubscriptionsAcknowledgedNotificationParams(notifications=honoured, _meta=meta)
        await ctx.session.send_notification(SubscriptionsAcknowledgedNotification(params=params), request_id)

    async def _send_changes(
        self, ctx: Context, caller: Caller, listened: ListenedTasks, closing: asyncio.Event
    ) -> None:
        """Notify of changes until `closing` is set, or the caller's token is no longer accepted.

        The changes may come from the cache, so the stream also ends if the backend refused the token in another call.
        """
        if not listened.task_ids:
            await closing.wait()
            return
        states: dict[str, TaskState] = {}
        async with self._pollers.watching(caller, listened.task_ids) as subscription:
            while not closing.is_set():
                subscription.changed.clear()
                if not await self._notify_of_changes(ctx, caller, listened, subscription, states):
                    return
                await wait_first(subscription.changed.wait(), closing.wait())

    async def _notify_of_changes(
        self,
        ctx: Context,
        caller: Caller,
        listened: ListenedTasks,
        subscription: Subscription,
        states: dict[str, TaskState],
    ) -> bool:
        """Notify of the tasks whose state differs from that in `states`, and update `states`.

        Return False if the caller's token is no longer accepted. No result is kept, because each takes several KB.
        """
        answers = subscription.answers()
        if any(isinstance(answer, Unauthorized) for answer in answers.values()):
            return False
        if self._tasks.was_refused(caller.principal.subject) or not await _may_go_on(caller):
            return False
        for task_id, task in answers.items():
            if not isinstance(task, RenderedTask):
                continue
            if _must_notify(states.get(task_id), task):
                await self._notify(ctx, caller, listened, task_id)
            states[task_id] = task.state
            if task.is_final:
                subscription.release([task_id])
        return True

    async def _notify(self, ctx: Context, caller: Caller, listened: ListenedTasks, task_id: str) -> None:
        request_id, send = cast("RequestId", ctx.request_id), ctx.session.send_notification
        meta = {SUBSCRIPTION_ID_META_KEY: request_id}
        if (uri := listened.uris.get(task_id)) is not None:
            updated = ResourceUpdatedNotificationParams(uri=uri, _meta=meta)
            await send(ResourceUpdatedNotification(params=updated), request_id)
        if (handle := listened.handles.get(task_id)) is not None:
            detailed = await self._tasks_extension.detailed(caller, handle)
            await send(cast("ServerNotification", TasksNotification(params={**detailed, "_meta": meta})), request_id)


async def _may_go_on(caller: Caller) -> bool:
    """Return whether a stream of `caller` may go on; False if the database is down.

    The client may then open another stream.
    """
    try:
        return await caller.has_unchanged_access()
    except LumaError:
        return False


def _handle_texts(requested: SubscriptionFilter) -> list[str]:
    """Return the task handles in a filter, under the `taskIds` that the Tasks extension adds to it."""
    handles = (requested.model_extra or {}).get("taskIds")
    return [handle for handle in handles if isinstance(handle, str)] if isinstance(handles, list) else []


def _must_notify(previous: TaskState | None, task: RenderedTask) -> bool:
    """Return whether to send a notification: after a change of state, or if the first known state is final."""
    return task.is_final if previous is None else task.state is not previous
