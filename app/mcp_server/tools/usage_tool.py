"""The handler of the tool that shows spending, budgets and rate limits."""

import math

from app.domain.backend import BackendDescription
from app.domain.budget import Spent, WindowUse
from app.domain.calendar import utc_text
from app.domain.errors import Unauthorized
from app.domain.money import MILLIONTHS, price_of_generation
from app.domain.rate_limit import LimitUse
from app.mcp_server.tools.arguments import NoArguments
from app.mcp_server.tools.definition import Call
from app.mcp_server.tools.results import BudgetView, RateLimitView, SpentView, UsageView
from app.mcp_server.tools.tool_result import ToolResult, tool_result
from app.services.limits.rate_limits import RateLimits
from app.services.tasks.lookup import TaskService
from app.services.teams.usage import UsageReports

NO_BALANCE = "At most, by what this server has started; {backend} shows the balance at {account_url}."


class UsageTool:
    """The handler of luma_get_usage."""

    def __init__(
        self, tasks: TaskService, usage: UsageReports, rate_limits: RateLimits, backend: BackendDescription
    ) -> None:
        """Read spending from `usage`. `tasks` reports whether a token is refused."""
        self._tasks = tasks
        self._usage = usage
        self._rate_limits = rate_limits
        self._backend = backend
        price = price_of_generation(backend.policy.price)
        self._unit = None if price is None else price.unit

    async def get_usage(self, call: Call, _arguments: NoArguments) -> ToolResult:
        """Return the caller's spending of this month, the budgets that count it, and the rate limits.

        Raises Unauthorized if the backend has refused the token lately.
        """
        principal = call.caller.principal
        if self._tasks.was_refused(principal.subject):  # withheld until the backend accepts the token again
            raise self._backend.error(Unauthorized)
        usage = await self._usage.of(principal)
        limits = [*await self._rate_limits.usage(principal), *usage.in_flight]
        view: UsageView = {
            "unit": self._unit,
            "since": utc_text(usage.since),
            "caller": _spent_view(usage.caller),
            "budgets": [_budget_view(use) for use in usage.budgets],
            "rate_limits": [_rate_limit_view(use) for use in limits],
        }
        if usage.team is not None:
            view["team"] = _spent_view(usage.team)
        return tool_result(self._text(view), view)

    def _text(self, view: UsageView) -> str:
        unit, since = view["unit"] or "of unknown price", view["since"]
        lines = [f"caller since {since}: {_spent_text(view['caller'])} {unit}"]
        if "team" in view:
            lines.append(f"team since {since}: {_spent_text(view['team'])} {unit}")
        else:
            lines.append(self._backend.say(NO_BALANCE))
        lines += [
            f"{budget['of']} budget a {budget['window']}: {budget['left']:g} left of {budget['limit']:g} {unit}, "
            f"renews {budget['renews_at']}" + (", soft" if "soft" in budget else "")
            for budget in view["budgets"]
        ]
        lines += [_rate_limit_text(rate_limit) for rate_limit in view["rate_limits"]]
        return "\n".join(lines)


def _spent_view(spent: Spent) -> SpentView:
    return {
        "generations": spent.generations,
        "spent": spent.spent / MILLIONTHS,
        "reserved": spent.reserved / MILLIONTHS,
    }


def _spent_text(spent: SpentView) -> str:
    return f"{spent['generations']} videos, {spent['spent']:g} spent, {spent['reserved']:g} reserved"


def _rate_limit_view(use: LimitUse) -> RateLimitView:
    view: RateLimitView = {
        "of": use.level.value,
        "counts": use.kind.value,
        "limit": use.maximum,
        "left": None if use.used is None else max(use.maximum - use.used, 0),
    }
    if use.renews_in_seconds is not None:
        view["renews_in_seconds"] = math.ceil(use.renews_in_seconds)
    return view


def _rate_limit_text(view: RateLimitView) -> str:
    left = "unknown" if view["left"] is None else view["left"]
    renews = f", renews in {view['renews_in_seconds']} s" if "renews_in_seconds" in view else ""
    return f"{view['of']} limit of {view['counts']}: {left} left of {view['limit']}{renews}"


def _budget_view(use: WindowUse) -> BudgetView:
    spender = use.budget.spender
    view: BudgetView = {
        "of": "key" if spender.key is not None else "member" if spender.member is not None else "team",
        "window": use.budget.window.value,
        "limit": use.limit / MILLIONTHS,
        "left": max(use.left, 0) / MILLIONTHS,
        "reserved": use.reserved / MILLIONTHS,
        "spent": use.spent / MILLIONTHS,
        "renews_at": utc_text(use.renews_at),
    }
    if use.budget.is_soft:
        view["soft"] = True
    return view
