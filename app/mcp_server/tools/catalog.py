"""The tools, in the order in which they are listed. All descriptions of the tools are generated from this list.

Descriptions are templates that are filled with the name and the facts of the backend.
"""

from dataclasses import replace

from app.domain.access import Scope
from app.domain.backend import BackendDescription
from app.mcp_server.tools.arguments import (
    ExtendArguments,
    ExtendFromUrlArguments,
    GenerateArguments,
    GenerateFromImageArguments,
    ListArguments,
    NoArguments,
    TaskArguments,
    batch_arguments,
)
from app.mcp_server.tools.definition import BILLABLE, READ_ONLY, STATIC, LumaTool
from app.mcp_server.tools.results import (
    ActionsView,
    BatchView,
    RatiosView,
    SingleTaskView,
    SubmissionsView,
    SubmittedView,
    UsageView,
)

_SPENDING = (
    "Needs your token or team key; costs about {price} once the video completes, else nothing. Returns a task_id at "
    "once: follow it for {duration} with luma_get_task or luma_get_tasks_batch, never resubmit it.\n\n"
    "Always give an idempotency_key: after backend_timeout or no answer repeat the call with the same key, which never "
    "buys twice within a day; without one see luma_list_tasks, then ask the user. Other errors bought nothing. "
    "rate_limited: {generations_at_once} of your token run, wait for one. budget_exceeded, no_credit: tell the "
    "user."
)

_EXTENDING = "Gives a new video of the same shape; added length and repeated footage are undocumented. "


def build_catalog(batch_limit: int, backend: BackendDescription) -> tuple[LumaTool, ...]:
    """Return the tools for a service over `backend` that takes at most `batch_limit` ids at once."""
    tools = (*_following_tools(batch_limit), *_generation_tools(), *_extension_tools(), *_reference_tools())
    return tuple(replace(tool, description=backend.say(tool.description)) for tool in tools)


def _following_tools(batch_limit: int) -> tuple[LumaTool, ...]:
    """Return the tools that follow generations and their cost."""
    return (_batch_tool(batch_limit), _task_tool(), _list_tool(), _usage_tool())


def _batch_tool(batch_limit: int) -> LumaTool:
    return LumaTool(
        name="luma_get_tasks_batch",
        title="Check many videos",
        description=(
            "Check many generate and extend tasks in one call: the state of each, with video_id and URL once "
            "completed.\n\nUse it for two or more task_ids, luma_get_task for one. Call it with wait_seconds 50 "
            "until ask_again_in_seconds is null. If your client times out, wait less. likely_stuck: drop "
            "that id, tell the user, do not resubmit.\n\nFree. Needs the {backend} token, or team, that started the "
            "tasks. One bad id never fails the others: unknown and other tokens' ids are in missing (lost: "
            "luma_list_tasks), ids that could not be read now in unavailable (ask again), failed generations in tasks "
            f"with their error. No id, or over {batch_limit}, is invalid_request. Finished tasks come from a cache, "
            "running ones are seconds old. URLs live {link_days} days."
        ),
        annotations=READ_ONLY,
        arguments=batch_arguments(batch_limit),
        result=BatchView,
        scope=Scope.READ,
    )


def _task_tool() -> LumaTool:
    return LumaTool(
        name="luma_get_task",
        title="Check one video",
        description=(
            "Read one Luma task: its state, the video with URL and video_id, or why it failed.\n\nUse it for one "
            "video, luma_get_tasks_batch for several. Call it with wait_seconds 50 until "
            "ask_again_in_seconds is null. If your client times out, wait less. likely_stuck: stop asking, tell the "
            "user, do not resubmit.\n\nFree. Needs the {backend} token, or team, that started the task: an unknown or "
            "another token's id is not_found (lost: luma_list_tasks). Backend errors: ask again after "
            "retry_after_seconds. A finished task comes from a cache, a running one is seconds old. The URL lives "
            "{link_days} days."
        ),
        annotations=READ_ONLY,
        arguments=TaskArguments,
        result=SingleTaskView,
        scope=Scope.READ,
    )


def _list_tool() -> LumaTool:
    return LumaTool(
        name="luma_list_tasks",
        title="List your submissions",
        description=(
            "List the generate and extend calls this server made for your token or team, newest first, to find a lost "
            "task_id or settle an unanswered call. Progress and URLs: luma_get_tasks_batch (prompts: detail full); "
            "spending: luma_get_usage.\n\nstate is the call's, not the video's: started has a task_id; refused bought "
            "nothing; sent is under way, list again; unknown may have bought: within a day repeat that call with its "
            "idempotency_key, else tell the user.\n\nFree, live, 90 days. Needs your token or team key. No match is an "
            "empty list; a bad since, limit or cursor is invalid_request."
        ),
        annotations=STATIC,
        arguments=ListArguments,
        result=SubmissionsView,
        scope=Scope.READ,
    )


def _usage_tool() -> LumaTool:
    return LumaTool(
        name="luma_get_usage",
        title="Show spending, budgets and rate limits",
        description=(
            "Show what was spent on videos this month, and what each budget and rate limit has left and when it "
            "renews. Use it before many generations and after budget_exceeded; for the calls themselves use "
            "luma_list_tasks.\n\nWith a team key it counts the caller and the whole team; reserved is held for running "
            "or lost videos and is not in left. budgets are all that count your calls; a soft one only warns. With "
            "your own {backend} token the sums are an upper bound, as failed videos count though they are free. unit "
            "null: price unknown. No balance is known: after no_credit send the user to {backend}.\n\nFree, live. "
            "Needs your token or team key. Months begin on the 1st, UTC."
        ),
        annotations=STATIC,
        arguments=NoArguments,
        result=UsageView,
        scope=Scope.READ,
    )


def _generation_tools() -> tuple[LumaTool, ...]:
    """Return the two tools that start a new video."""
    return (
        LumaTool(
            name="luma_generate_video",
            title="Generate a video from text",
            description=(
                "Start a new video of about 5 s from a text prompt alone. To begin or end on a picture use "
                "luma_generate_video_from_image; to continue a finished video, luma_extend_video.\n\n" + _SPENDING
            ),
            annotations=BILLABLE,
            arguments=GenerateArguments,
            result=SubmittedView,
            scope=Scope.GENERATE,
        ),
        LumaTool(
            name="luma_generate_video_from_image",
            title="Generate a video from images",
            description=(
                "Start a new video of about 5 s that begins or ends on a picture: start_image_url, end_image_url or "
                "both; none is invalid_request. Without pictures use luma_generate_video; to continue a "
                "finished video, luma_extend_video. A picture may override aspect_ratio; loop with end_image_url is "
                "undocumented. An unreadable picture is invalid_request or a failed task.\n\n" + _SPENDING
            ),
            annotations=BILLABLE,
            arguments=GenerateFromImageArguments,
            result=SubmittedView,
            scope=Scope.GENERATE,
        ),
    )


def _extension_tools() -> tuple[LumaTool, ...]:
    """Return the two tools that continue an earlier video."""
    return (
        LumaTool(
            name="luma_extend_video",
            title="Extend a video",
            description=(
                "Continue a finished Luma video, named by video_id, from its last frame. With only a link use "
                f"luma_extend_video_from_url; for an unrelated video luma_generate_video.\n\n{_EXTENDING}Unknown "
                "or another token's video_ids and unreadable pictures are invalid_request or a failed task.\n\n"
                + _SPENDING
            ),
            annotations=BILLABLE,
            arguments=ExtendArguments,
            result=SubmittedView,
            scope=Scope.GENERATE,
        ),
        LumaTool(
            name="luma_extend_video_from_url",
            title="Extend a video by its URL",
            description=(
                f"Continue a finished Luma video, named by video_url, from its last frame. Only {{backend}} links, "
                f"for their {{link_days}} days. With a video_id prefer luma_extend_video; for other videos give a "
                f"frame to luma_generate_video_from_image.\n\n{_EXTENDING}An unknown or expired link, or an unreadable "
                f"picture, is invalid_request or a failed task.\n\n{_SPENDING}"
            ),
            annotations=BILLABLE,
            arguments=ExtendFromUrlArguments,
            result=SubmittedView,
            scope=Scope.GENERATE,
        ),
    )


def _reference_tools() -> tuple[LumaTool, ...]:
    """Return the two tools whose results are fixed texts and tables."""
    return (
        LumaTool(
            name="luma_list_aspect_ratios",
            title="List aspect ratios",
            description=(
                "List the seven aspect ratios of the generate tools, to choose one for a platform. Not needed when the "
                "format is known, nor for the extend tools, which keep the shape. Free, static, any token."
            ),
            annotations=STATIC,
            arguments=NoArguments,
            result=RatiosView,
            scope=Scope.READ,
        ),
        LumaTool(
            name="luma_list_actions",
            title="List tools and workflow",
            description=(
                "List the Luma tools as a workflow: which to call first and next, and what costs credit. Use it when "
                "unsure where to start, not when you know the tool; for formats use luma_list_aspect_ratios. Free, "
                "static, any token."
            ),
            annotations=STATIC,
            arguments=NoArguments,
            result=ActionsView,
            scope=Scope.READ,
        ),
    )
