"""The handlers of the two tools whose results are fixed texts and tables."""

from app.mcp_server.reference import ACTIONS, RATIO_USES, WORKFLOW
from app.mcp_server.tools.arguments import NoArguments
from app.mcp_server.tools.definition import Call
from app.mcp_server.tools.results import ActionsView, RatiosView
from app.mcp_server.tools.tool_lists import ToolLists
from app.mcp_server.tools.tool_result import ToolResult, tool_result


class ReferenceTools:
    """The handlers of luma_list_aspect_ratios and luma_list_actions."""

    def __init__(self, lists: ToolLists) -> None:
        """Show the actions of the tools that a caller sees. `lists` returns these tools."""
        self._lists = lists

    async def list_aspect_ratios(self, _call: Call, _arguments: NoArguments) -> ToolResult:
        """Return the aspect ratios and their uses."""
        view: RatiosView = {
            "default": RATIO_USES[0].aspect_ratio,
            "aspect_ratios": [
                {"aspect_ratio": ratio.aspect_ratio, "shape": ratio.shape, "good_for": ratio.good_for}
                for ratio in RATIO_USES
            ],
        }
        return tool_result(
            "\n".join(f"{ratio.aspect_ratio} {ratio.shape}: {ratio.good_for}" for ratio in RATIO_USES), view
        )

    async def list_actions(self, call: Call, _arguments: NoArguments) -> ToolResult:
        """Return the caller's actions, and the tool of each."""
        tool_names = self._lists.names(call.caller.principal.scopes, call.tool_filter)
        actions = [action for action in ACTIONS if action.tool in tool_names]
        view: ActionsView = {
            "actions": [
                {"tool": action.tool, "does": action.does, "needs": action.needs, "costs_credit": action.costs_credit}
                for action in actions
            ],
            "workflow": WORKFLOW,
        }
        lines = [
            f"{action.tool}: {action.does}; needs {action.needs}; {'costs credits' if action.costs_credit else 'free'}"
            for action in actions
        ]
        return tool_result("\n".join([*lines, WORKFLOW]), view)
