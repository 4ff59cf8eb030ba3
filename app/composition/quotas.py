"""Builds the quotas of callers: waiting calls, listeners, submissions, database operations and memory."""

from collections.abc import Callable
from functools import partial

from app.domain.backend import BackendDescription
from app.domain.rate_limit import LimitKind
from app.mcp_server.extensions.subscriptions import MAX_LISTENERS, MAX_LISTENERS_PER_CALLER
from app.observability.metrics import Metrics
from app.observability.refusals import Refusals
from app.ports.rate_limiter import RateLimiter
from app.services.limits.backend_limits import BackendLimits
from app.services.limits.caller_quota import CallerQuota, QuotaLimits
from app.services.limits.database_turns import MAX_WAIT_SECONDS, DatabaseLimits, DatabaseTurns
from app.services.limits.fair_limiter import FairLimiter, Shares
from app.services.limits.memory_budget import SHARE_OF_CONNECTIONS, SHARE_OF_ONE_CALLER, MemoryBudget
from app.services.limits.rate_limits import RateLimits
from app.services.polling.waiter import MAX_WAITING, MAX_WAITING_PER_CALLER
from app.services.polling.watched_tasks import MAX_AWAITED, MAX_AWAITED_PER_CALLER
from app.services.purchases.service import MAX_UNDER_WAY, MAX_UNDER_WAY_PER_CALLER
from app.settings import Settings

SHARE_OF_UNACCEPTED = 4
"""All callers whose token the backend has not accepted may together use 1/SHARE_OF_UNACCEPTED of a quota.

Any string is a token, so a caller could otherwise use up a quota with invented ones.
"""

DATABASE_READS = DATABASE_PURCHASES = Shares(places=2, per_tenant=1, unaccepted=1)
DATABASE_CALLBACKS = DATABASE_SIGN_IN = Shares(places=1, per_tenant=1, unaccepted=1)
"""Concurrent operations of each kind. The database has four connections, which background work uses as well."""

MAX_QUEUED = 1_000
MAX_QUEUED_PER_CALLER = 100
MAX_QUEUED_CALLBACKS = 200
MAX_QUEUED_CALLBACKS_PER_CALLER = 20
MAX_QUEUED_SIGN_IN = 200
MAX_QUEUED_SIGN_IN_PER_CALLER = 100
"""Limits of operations of each kind that wait for the database."""


def database_limits(
    backend: BackendDescription,
    refusals: Refusals,
    backend_limits: BackendLimits,
    longest_wait_seconds: float = MAX_WAIT_SECONDS,
) -> DatabaseLimits:
    """Return the limits of callers' operations on the database.

    For callbacks, all tenants count as accepted, because only the backend knows the tickets in callback URLs.
    An operation waits at most `longest_wait_seconds` for its turn.
    """
    is_accepted = backend_limits.token_status.is_accepted
    effect = (
        "Refused a database operation: too many wait already. The limits are {} for one token, {} in all, and "
        f"{MAX_QUEUED // SHARE_OF_UNACCEPTED} for all tokens that {backend.name} has not accepted."
    ).format(MAX_QUEUED_PER_CALLER, MAX_QUEUED)
    quota = QuotaLimits(MAX_QUEUED, MAX_QUEUED_PER_CALLER, MAX_QUEUED // SHARE_OF_UNACCEPTED)
    on_refusal = refusals.reporter("database", effect)
    callback_quota = QuotaLimits(MAX_QUEUED_CALLBACKS, MAX_QUEUED_CALLBACKS_PER_CALLER, MAX_QUEUED_CALLBACKS)
    effect = (
        f"Refused a callback with 503: {MAX_QUEUED_CALLBACKS_PER_CALLER} of one token, or {MAX_QUEUED_CALLBACKS} in "
        "all, wait for the database already. Its task is read on schedule."
    )
    on_callback_refusal = refusals.reporter("callbacks", effect)
    waited = f"it waited {longest_wait_seconds:.0f} s for its turn. The database is slow, or many callers use it."
    on_timeout = refusals.reporter("database_waits", f"Refused a database operation: {waited}")
    effect = f"Refused a callback with 503: {waited} Its task is read on schedule."
    on_callback_timeout = refusals.reporter("callback_waits", effect)

    def token_turns(shares: Shares) -> DatabaseTurns:
        waiting = CallerQuota(quota, is_accepted, on_refusal)
        return DatabaseTurns(FairLimiter(shares, is_accepted), waiting, on_timeout, longest_wait_seconds)

    callbacks = FairLimiter(DATABASE_CALLBACKS, _all_accepted)
    waiting = CallerQuota(callback_quota, _all_accepted, on_callback_refusal)
    return DatabaseLimits(
        reads=token_turns(DATABASE_READS),
        purchases=token_turns(DATABASE_PURCHASES),
        callbacks=DatabaseTurns(callbacks, waiting, on_callback_timeout, longest_wait_seconds),
        sign_in=_sign_in_turns(refusals, longest_wait_seconds),
    )


def _sign_in_turns(refusals: Refusals, longest_wait_seconds: float) -> DatabaseTurns:
    """Return the limiter for pages and OAuth clients. Neither has a token to accept, so both count as accepted."""
    effect = (
        f"Refused a request of sign-in with 503: {MAX_QUEUED_SIGN_IN_PER_CALLER} of pages or of OAuth clients wait for "
        "the database already. MCP calls with known tokens are served."
    )
    on_refusal = refusals.reporter("sign_in_database", effect)
    effect = (
        f"Refused a request of sign-in with 503: it waited {longest_wait_seconds:.0f} s for its turn at the database. "
        "The database is slow, or many people or strangers use sign-in."
    )
    on_timeout = refusals.reporter("sign_in_waits", effect)
    limits = QuotaLimits(MAX_QUEUED_SIGN_IN, MAX_QUEUED_SIGN_IN_PER_CALLER, MAX_QUEUED_SIGN_IN)
    waiting = CallerQuota(limits, _all_accepted, on_refusal)
    return DatabaseTurns(FairLimiter(DATABASE_SIGN_IN, _all_accepted), waiting, on_timeout, longest_wait_seconds)


def _all_accepted(_caller: str) -> bool:
    return True


def waiting_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of calls that wait for tasks."""
    effect = (
        f"Refused a call that would wait: too many calls wait already. The limits are {MAX_WAITING_PER_CALLER} for "
        f"one token, {MAX_WAITING} in all, and {MAX_WAITING // SHARE_OF_UNACCEPTED} for all tokens that "
        f"{backend.name} has not accepted. Calls that do not wait are answered."
    )
    on_refusal, on_change = refusals.reporter("waits", effect), refusals.metrics.waiting_callers.set
    return _quota(MAX_WAITING, MAX_WAITING_PER_CALLER, backend_limits, on_refusal, on_change)


def listener_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of `subscriptions/listen` streams."""
    effect = (
        "Refused a listener (a subscriptions/listen stream): too many are open. The limits are "
        f"{MAX_LISTENERS_PER_CALLER} for one token, {MAX_LISTENERS} in all, and "
        f"{MAX_LISTENERS // SHARE_OF_UNACCEPTED} for all tokens that {backend.name} has not accepted."
    )
    on_refusal, on_change = refusals.reporter("listeners", effect), refusals.metrics.listeners.set
    return _quota(MAX_LISTENERS, MAX_LISTENERS_PER_CALLER, backend_limits, on_refusal, on_change)


def awaited_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of distinct tasks that calls wait for."""
    effect = (
        "Refused a call that would wait: too many tasks are awaited already. The limits are "
        f"{MAX_AWAITED_PER_CALLER} for one token, {MAX_AWAITED} in all, and {MAX_AWAITED // SHARE_OF_UNACCEPTED} "
        f"for all tokens that {backend.name} has not accepted. Calls that do not wait are answered."
    )
    return _quota(MAX_AWAITED, MAX_AWAITED_PER_CALLER, backend_limits, refusals.reporter("awaited_tasks", effect))


def submission_quota(backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits) -> CallerQuota:
    """Return the quota of submissions in flight."""
    effect = (
        "Refused a submission, and sent nothing of it: too many are in flight. The limits are "
        f"{MAX_UNDER_WAY_PER_CALLER} for one token, {MAX_UNDER_WAY} in all, and "
        f"{MAX_UNDER_WAY // SHARE_OF_UNACCEPTED} for all tokens that {backend.name} has not accepted. Submissions "
        "continue when their callers disconnect."
    )
    return _quota(MAX_UNDER_WAY, MAX_UNDER_WAY_PER_CALLER, backend_limits, refusals.reporter("submissions", effect))


def build_rate_limits(limiter: RateLimiter, metrics: Metrics, clock: Callable[[], float]) -> RateLimits:
    """Return the rate limits of teams, members and keys, counted with `limiter`."""

    def on_refusal(kind: LimitKind) -> None:
        metrics.limit_reached(kind.value).inc()

    on_flood, on_failure = metrics.limit_reached("call_floods").inc, partial(metrics.store_failed, "limit")
    return RateLimits(limiter, clock, on_refusal=on_refusal, on_flood=on_flood, on_failure=on_failure)


def _quota(
    limit: int,
    per_caller: int,
    backend_limits: BackendLimits,
    on_refusal: Callable[[], None],
    on_change: Callable[[int], None] = lambda _in_use: None,
) -> CallerQuota:
    limits = QuotaLimits(limit, per_caller, limit // SHARE_OF_UNACCEPTED)
    return CallerQuota(limits, backend_limits.token_status.is_accepted, on_refusal, on_change)


def build_memory_budget(
    settings: Settings, backend: BackendDescription, refusals: Refusals, backend_limits: BackendLimits
) -> MemoryBudget:
    """Return the memory budget of requests and connections. Its size is LUMA_MCP_REQUEST_MEMORY_MB."""
    request_refused = (
        f"Answered 429: requests in flight hold too much memory. The limits are 1/{SHARE_OF_ONE_CALLER} of "
        f"LUMA_MCP_REQUEST_MEMORY_MB ({settings.request_memory_mb}) for one token, "
        f"{SHARE_OF_CONNECTIONS - 1}/{SHARE_OF_CONNECTIONS} of it for all requests, and half of that for all tokens "
        f"that {backend.name} has not accepted. Other requests are served."
    )
    connection_closed = (
        "Closed a connection: unfinished requests and unread responses exceed what requests in flight leave of "
        f"LUMA_MCP_REQUEST_MEMORY_MB ({settings.request_memory_mb}), and the connections of its caller hold the most. "
        "Other connections are served."
    )
    return MemoryBudget(
        settings.request_memory_mb * 1_000_000,
        backend_limits.token_status.is_accepted,
        refusals.reporter("request_memory", request_refused),
        refusals.reporter("connection_memory", connection_closed),
    )
