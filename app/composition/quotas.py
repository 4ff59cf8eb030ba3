"""Builds the quotas of callers: waiting calls, listeners, submissions, and the memory of requests."""

from collections.abc import Callable

from app.domain.backend import BackendDescription
from app.mcp_server.extensions.subscriptions import MOST_LISTENERS, MOST_LISTENERS_PER_CALLER
from app.observability.refusals import Refusals
from app.services.limits.backend_limits import BackendLimits
from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.memory_budget import SHARE_OF_ONE_CALLER, MemoryBudget
from app.services.polling.poller import MOST_AWAITED, MOST_AWAITED_PER_CALLER
from app.services.polling.waiter import MOST_WAITING, MOST_WAITING_PER_CALLER
from app.services.purchases.service import MOST_UNDER_WAY, MOST_UNDER_WAY_PER_CALLER
from app.settings import Settings

SHARE_OF_UNACCEPTED = 4
"""Callers whose token the backend has not accepted may together have this part of the places to wait and listen."""


def waiting_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of calls that wait for tasks."""
    effect = (
        f"Refused a call that would wait: {MOST_WAITING_PER_CALLER} of its token or {MOST_WAITING} in all wait "
        f"already, or {MOST_WAITING // SHARE_OF_UNACCEPTED} of tokens that {backend.name} has not accepted. Calls that "
        "do not wait are answered."
    )
    refused, shown = refusals.reporter("waits", effect), refusals.metrics.waiting_callers.set
    return _quota(MOST_WAITING, MOST_WAITING_PER_CALLER, backend_limits, refused, shown)


def listener_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of `subscriptions/listen` streams."""
    effect = (
        f"Refused a listener: {MOST_LISTENERS_PER_CALLER} of its token or {MOST_LISTENERS} in all are served already, "
        f"or {MOST_LISTENERS // SHARE_OF_UNACCEPTED} of tokens that {backend.name} has not accepted."
    )
    refused, shown = refusals.reporter("listeners", effect), refusals.metrics.listeners.set
    return _quota(MOST_LISTENERS, MOST_LISTENERS_PER_CALLER, backend_limits, refused, shown)


def awaited_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of distinct tasks that calls wait for."""
    effect = (
        f"Refused a call that would wait: {MOST_AWAITED_PER_CALLER} tasks of its token or {MOST_AWAITED} in all are "
        f"awaited already, or {MOST_AWAITED // SHARE_OF_UNACCEPTED} of tokens that {backend.name} has not accepted. "
        "Calls that do not wait are answered."
    )
    return _quota(MOST_AWAITED, MOST_AWAITED_PER_CALLER, backend_limits, refusals.reporter("awaited_tasks", effect))


def submission_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of submissions in flight."""
    effect = (
        f"Refused a submission: {MOST_UNDER_WAY_PER_CALLER} of its token or {MOST_UNDER_WAY} in all are under way, "
        f"or {MOST_UNDER_WAY // SHARE_OF_UNACCEPTED} of tokens that {backend.name} has not accepted. They go on when "
        "their callers leave; nothing of the refused one was sent."
    )
    return _quota(MOST_UNDER_WAY, MOST_UNDER_WAY_PER_CALLER, backend_limits, refusals.reporter("submissions", effect))


def _quota(
    most: int,
    per_caller: int,
    backend_limits: BackendLimits,
    refused: Callable[[], None],
    changed: Callable[[int], None] = lambda _in_use: None,
) -> CallerQuota:
    limits = QuotaLimits(most, per_caller, most // SHARE_OF_UNACCEPTED)
    return CallerQuota(limits, backend_limits.token_status.is_accepted, refused, changed)


def build_memory_budget(
    settings: Settings, backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits
) -> MemoryBudget:
    """Return the memory budget of requests and connections: LUMA_MCP_REQUEST_MEMORY_MB."""
    refused = (
        f"Answered 429: requests of one token hold 1/{SHARE_OF_ONE_CALLER} of LUMA_MCP_REQUEST_MEMORY_MB "
        f"({settings.request_memory_mb}), those of all tokens hold all of it, or those of tokens that "
        f"{backend.name} has not accepted hold half. Others are served."
    )
    ended = (
        "Ended a connection: unfinished requests and unread answers hold what requests under way leave of "
        f"LUMA_MCP_REQUEST_MEMORY_MB ({settings.request_memory_mb}), and its caller holds most of that. Others are "
        "served."
    )
    return MemoryBudget(
        settings.request_memory_mb * 1_000_000,
        backend_limits.token_status.is_accepted,
        refusals.reporter("request_memory", refused),
        refusals.reporter("connection_memory", ended),
    )
