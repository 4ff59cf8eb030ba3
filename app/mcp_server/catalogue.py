"""The eight tools, in the order in which they are listed; everything that describes them is generated from here."""

from app.domain.freshness import VIDEO_LIFE_SECONDS
from app.mcp_server import info_tools, task_tools, video_tools
from app.mcp_server.arguments import (
    ExtendArguments,
    ExtendFromUrlArguments,
    GenerateArguments,
    GenerateFromImageArguments,
    NoArguments,
    TaskArguments,
    tasks_arguments,
)
from app.mcp_server.tool import KNOWS, READS, SPENDS, LumaTool
from app.mcp_server.views import ActionsView, BatchView, RatiosView, SingleTaskView, SubmittedView

_DAYS = round(VIDEO_LIFE_SECONDS / 86400)

_SPENDING = (
    "Costs about 1.2 credits of your token's AceDataCloud account, charged on success. Returns a task_id at once; the "
    "video takes 1 to 3 minutes: follow it with luma_get_tasks_batch, and never call again because it is slow.\n\n"
    "rate_limited (5 running per token), refused (moderation), no_credit, unauthorized and invalid_request bought "
    "nothing. backend_timeout leaves the outcome unknown: call again with the same idempotency_key, and with "
    "retry_unknown only if the user agrees; without a key, ask the user to check the account."
)

_EXTENDING = (
    "The result is a new video of the same shape; the earlier one stays. Not documented: how many seconds are "
    "added, and whether the result repeats the earlier footage."
)


def catalogue(batch_limit: int) -> tuple[LumaTool, ...]:
    """Return the tools for a service that takes at most `batch_limit` ids at once."""
    return (*_asking(batch_limit), *_generating(), *_extending(), *_knowing())


def _asking(batch_limit: int) -> tuple[LumaTool, ...]:
    """Return the two that ask how generations are doing."""
    return (
        LumaTool(
            name="luma_get_tasks_batch",
            title="Check many videos",
            description=(
                "Check many Luma generations in one call: the state of each, and the video_id and URL of those that "
                "are completed.\n\n"
                "Use it for two or more task_ids, and luma_get_task for one. Submit all videos first, then call it "
                "with wait_seconds 50, and again until ask_again_in_seconds is null. After a time-out of your "
                "client ask with a smaller wait_seconds; never submit again.\n\n"
                "Free. Needs the AceDataCloud token that started the tasks. One bad id never fails the others: ids "
                "that AceDataCloud does not know come back in missing, ids that it could not read now in "
                "unavailable with the reason; a failed generation is listed with its error. An empty list, or more "
                f"than {batch_limit} ids, is refused. Finished tasks come from a cache, running ones are seconds "
                f"old. URLs live {_DAYS} days."
            ),
            annotations=READS,
            arguments=tasks_arguments(batch_limit),
            result=BatchView,
            answer=task_tools.get_tasks_batch,
        ),
        LumaTool(
            name="luma_get_task",
            title="Check one video",
            description=(
                "Read one Luma generation in full: its state, then the video with URL, video_id, size and "
                "thumbnail, or why it failed.\n\n"
                "Use it while you follow a single video; to follow several, one luma_get_tasks_batch call replaces "
                "many of these. wait_seconds keeps the call open until the video is ready, so that you need not "
                "poll; repeat until ask_again_in_seconds is null.\n\n"
                "Costs nothing, and reads with your own AceDataCloud token. An id that AceDataCloud does not know "
                "is the error not_found; there is no search for a lost id. A failed generation is an answer, with "
                f"state failed. Hand the URL on: it works for {_DAYS} days."
            ),
            annotations=READS,
            arguments=TaskArguments,
            result=SingleTaskView,
            answer=task_tools.get_task,
        ),
    )


def _generating() -> tuple[LumaTool, ...]:
    """Return the two that start something new."""
    return (
        LumaTool(
            name="luma_generate_video",
            title="Generate a video from text",
            description=(
                "Start a new video of about 5 s from a text prompt alone. To begin or end on a picture use "
                "luma_generate_video_from_image; to continue a finished video, luma_extend_video.\n\n" + _SPENDING
            ),
            annotations=SPENDS,
            arguments=GenerateArguments,
            result=SubmittedView,
            answer=video_tools.generate_video,
        ),
        LumaTool(
            name="luma_generate_video_from_image",
            title="Generate a video from images",
            description=(
                "Start a new video of about 5 s that begins with start_image_url, ends with end_image_url, or moves "
                "from the first to the second; at least one is needed, and links must open without login. Without "
                "pictures use luma_generate_video; to continue a video, luma_extend_video. The picture may set the "
                "frame shape, "
                "whatever aspect_ratio says.\n\n" + _SPENDING
            ),
            annotations=SPENDS,
            arguments=GenerateFromImageArguments,
            result=SubmittedView,
            answer=video_tools.generate_video_from_image,
        ),
    )


def _extending() -> tuple[LumaTool, ...]:
    """Return the two that continue an earlier video."""
    return (
        LumaTool(
            name="luma_extend_video",
            title="Extend a video",
            description=(
                "Continue a finished video from its last frame, named by its video_id. With only a link use "
                "luma_extend_video_from_url; for an unrelated video luma_generate_video.\n\n"
                f"{_EXTENDING}\n\n{_SPENDING}"
            ),
            annotations=SPENDS,
            arguments=ExtendArguments,
            result=SubmittedView,
            answer=video_tools.extend_video,
        ),
        LumaTool(
            name="luma_extend_video_from_url",
            title="Extend a video by its URL",
            description=(
                "Continue a finished video from its last frame, named by its video_url: only a video made by Luma "
                "through AceDataCloud, while its link lives. With a video_id use luma_extend_video, which is surer; "
                "for an unrelated video luma_generate_video.\n\n"
                f"{_EXTENDING}\n\n"
                f"{_SPENDING}"
            ),
            annotations=SPENDS,
            arguments=ExtendFromUrlArguments,
            result=SubmittedView,
            answer=video_tools.extend_video_from_url,
        ),
    )


def _knowing() -> tuple[LumaTool, ...]:
    """Return the two that answer from what is known here."""
    return (
        LumaTool(
            name="luma_list_aspect_ratios",
            title="List aspect ratios",
            description=(
                "List the seven aspect ratios that the two generate tools accept, with the shape and the use of "
                "each. Use it to choose a format for a platform. Not needed when the format is known, and not for "
                "extending, which keeps the shape of the earlier video; for the choice of a tool use "
                "luma_list_actions. Free and static: one call per conversation is enough."
            ),
            annotations=KNOWS,
            arguments=NoArguments,
            result=RatiosView,
            answer=info_tools.list_aspect_ratios,
        ),
        LumaTool(
            name="luma_list_actions",
            title="List actions",
            description=(
                "List the Luma video tools: what each does, what it needs and whether it spends credits, and the order "
                "in which to call them. Use it once when unsure where to start; for frame formats use "
                "luma_list_aspect_ratios, and for the state of a video luma_get_task. Free and static: it reads no "
                "account and starts nothing."
            ),
            annotations=KNOWS,
            arguments=NoArguments,
            result=ActionsView,
            answer=info_tools.list_actions,
        ),
    )
