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
    "Every call buys one video with the credits of your AceDataCloud bearer token (about 1.2 credits, charged on "
    "success), so never repeat it because a video is slow; with an idempotency_key a repeated call returns the first "
    "task instead, for 24 hours. Returns at once with a task_id; the video takes 1 to 3 minutes: follow it with "
    "luma_get_tasks_batch. Fails with rate_limited (5 running per token), refused (moderation), no_credit, "
    "unauthorized or invalid_request, and then nothing was bought; an error that calls the outcome unknown may have "
    "bought."
)

_READING = (
    "Free. Needs the AceDataCloud bearer token that started the tasks. With wait_seconds it answers as soon as all "
    "have finished, or after that time with what is known then. Finished tasks come from a cache, running ones are "
    "seconds old."
)

_EXTENDING = (
    "The result is a new video with a task_id of its own; the earlier one stays. Size and shape follow the earlier one."
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
                "Check the state and fetch the result URLs of many Luma generations in one call. Use it whenever "
                "you hold two or more task ids, and again until ask_again_in_seconds is null; for one id "
                f"luma_get_task is the same. {_READING} Keeps your order and answers duplicates once. Ids that "
                "AceDataCloud does not know come back in missing, ids it could not read now in unavailable with the "
                f"reason, and the rest is answered all the same; an empty list or more than {batch_limit} ids is "
                f"refused. A failed generation is listed with its error. Result URLs live {_DAYS} days."
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
                "Check one Luma generation: its state, then its video_id and URL, or why it failed. For two or more "
                f"ids use luma_get_tasks_batch, one call instead of many. {_READING} Ask again after "
                "ask_again_in_seconds, until that is null. An id that AceDataCloud does not know is the error "
                "not_found; a failed generation is an answer with state failed. A lost id cannot be looked up. "
                f"The result URL lives {_DAYS} days."
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
                "Start a new video of about 5 s from a text prompt. With a picture to begin or end on, use "
                "luma_generate_video_from_image; to continue a finished video, luma_extend_video. " + _SPENDING
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
                "Start a new video that begins with start_image_url, ends with end_image_url, or moves from one to "
                "the other; at least one is needed, and links must open without login. Without pictures use "
                "luma_generate_video. The image may set the frame size, whatever aspect_ratio says. " + _SPENDING
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
                f"luma_extend_video_from_url; for an unrelated video luma_generate_video. {_EXTENDING} {_SPENDING}"
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
                "Continue a finished video from its last frame, named by its video_url; only videos made by Luma "
                "through AceDataCloud, while the link lives. With a video_id use luma_extend_video, which is surer. "
                f"{_EXTENDING} {_SPENDING}"
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
                "List the aspect ratios that the generate tools accept and what each is good for. Use it to choose "
                "for a platform or format; for the choice of tool use luma_list_actions. Free, static, instant: "
                "asks no backend, and once per conversation is enough."
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
                "List what can be done here, which tool does it, what each needs, which spend credits, and the order "
                "of a workflow. Use it when unsure where to start; for formats use luma_list_aspect_ratios. Free, "
                "static, instant: asks no backend, and once per conversation is enough."
            ),
            annotations=KNOWS,
            arguments=NoArguments,
            result=ActionsView,
            answer=info_tools.list_actions,
        ),
    )
