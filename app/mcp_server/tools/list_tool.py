"""The handler of the tool that lists a caller's submissions. It reads the database only, not the backend."""

from datetime import UTC, datetime
from typing import Any

from app.domain.access import Principal
from app.domain.backend import BackendDescription
from app.domain.calendar import utc_text
from app.domain.errors import InvalidRequest, Unauthorized
from app.domain.purchase import Purchase, PurchaseState
from app.domain.teams import valid_name
from app.mcp_server.tools.arguments import ListArguments
from app.mcp_server.tools.definition import Call
from app.mcp_server.tools.results import SubmissionsView, SubmissionView
from app.mcp_server.tools.tool_result import ToolResult, tool_result
from app.ports.sealing import Sealer
from app.services.purchases.submitted_tasks import Page, PagePosition, SubmittedTasks
from app.services.tasks.lookup import TaskService

PURPOSE = "list"
"""The purpose for which cursors are sealed."""

NO_TIME = "`since` is no time: write it as ISO 8601, such as 2026-11-01 or 2026-11-01T12:00:00Z."
NO_CURSOR = "`cursor` is not one of this caller's: pass next_cursor of the last answer unchanged, or leave it out."
NO_TEAM = "`member` is for the keys of teams, and this caller has no team: leave it out."
NONE_FOUND = "No submission of this caller matches."


class ListTool:
    """The handler of luma_list_tasks."""

    def __init__(
        self, tasks: TaskService, submitted: SubmittedTasks, sealer: Sealer, backend: BackendDescription
    ) -> None:
        """List the submissions in `submitted`. `tasks` reports whether a token is refused. `sealer` seals cursors."""
        self._tasks = tasks
        self._submitted = submitted
        self._sealer = sealer
        self._backend = backend

    async def list_tasks(self, call: Call, arguments: ListArguments) -> ToolResult:
        """Return one page of the caller's submissions, the newest first.

        Raises Unauthorized if the backend has refused the token lately, and InvalidRequest for an invalid argument.
        """
        principal = call.caller.principal
        if self._tasks.was_refused(principal.subject):  # withheld until the backend accepts the token again
            raise self._backend.error(Unauthorized)
        page = await self._submitted.newest(
            principal,
            int(arguments.limit),
            outcome=None if arguments.state is None else PurchaseState(arguments.state),
            since=None if arguments.since is None else _unix_seconds(arguments.since),
            before=None if arguments.cursor is None else self._unseal_cursor(principal.owners, arguments.cursor),
            member_name=_member(principal, arguments.member),
        )
        view: SubmissionsView = {
            "tasks": [_view(purchase) for purchase in page.purchases],
            "next_cursor": self._next_cursor(principal.owner, page),
        }
        return tool_result(_text(view), view)

    def _next_cursor(self, tenant: str, page: Page) -> str | None:
        if page.next is None:
            return None
        return self._sealer.seal(PURPOSE, {"at": page.next[0], "attempt": page.next[1]}, tenant)

    def _unseal_cursor(self, owners: tuple[str, ...], cursor: str) -> PagePosition:
        """Return the position of a page. Raises InvalidRequest unless the cursor was made for this caller."""
        content: dict[str, Any] | None = self._sealer.unseal(PURPOSE, cursor.strip(), owners)
        if content is None:
            raise InvalidRequest(NO_CURSOR)
        return content["at"], content["attempt"]


def _view(purchase: Purchase) -> SubmissionView:
    view: SubmissionView = {
        "state": purchase.outcome.value,
        "action": "extend" if purchase.action == "extend" else "generate",
        "submitted_at": utc_text(purchase.created_at),
    }
    if purchase.member_name is not None:
        view["member"] = purchase.member_name
    return {"task_id": purchase.task_id, **view} if purchase.task_id is not None else view


def _member(principal: Principal, name: str | None) -> str | None:
    """Return the member name to filter by; None for all members.

    Raises InvalidRequest for an invalid name, and for any name if the caller has no team.
    """
    if not name:
        return None
    if principal.team is None:
        raise InvalidRequest(NO_TEAM)
    try:
        return valid_name(name)
    except ValueError as exc:
        raise InvalidRequest(f"member: {exc}") from None


def _text(view: SubmissionsView) -> str:
    lines = [_line(submission) for submission in view["tasks"]]
    if view["next_cursor"] is not None:
        lines.append(f"There are more: cursor={view['next_cursor']}")
    return "\n".join(lines) or NONE_FOUND


def _line(view: SubmissionView) -> str:
    fields = (view.get("task_id", "-"), view["state"], view["action"], view["submitted_at"], view.get("member", ""))
    return " ".join(fields).rstrip()


def _unix_seconds(text: str) -> float:
    """Return an ISO 8601 time as unix seconds. A time without a zone is UTC. Raises InvalidRequest."""
    try:
        time = datetime.fromisoformat(text.strip())
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequest(NO_TIME) from None
