"""Texts and tables about Luma Dream Machine, for the listing tools, the prompts and the server instructions."""

from typing import NamedTuple

from app.domain.backend import BackendDescription
from app.domain.generation import AspectRatio


class RatioUse(NamedTuple):
    """An aspect ratio and its uses."""

    aspect_ratio: AspectRatio
    shape: str
    good_for: str


RATIO_USES: tuple[RatioUse, ...] = (
    RatioUse("16:9", "landscape", "films, YouTube and presentations; the default"),
    RatioUse("9:16", "portrait", "TikTok, Reels and Shorts"),
    RatioUse("1:1", "square", "feeds and avatars"),
    RatioUse("4:3", "landscape", "older screens and slides"),
    RatioUse("3:4", "portrait", "portraits and posters"),
    RatioUse("21:9", "ultra-wide", "cinematic scenes"),
    RatioUse("9:21", "ultra-tall", "full-height phone backgrounds"),
)


class Action(NamedTuple):
    """An action, the tool for it, and the arguments that the tool needs."""

    tool: str
    does: str
    needs: str
    costs_credit: bool


ACTIONS: tuple[Action, ...] = (
    Action("luma_generate_video", "start a video from words", "prompt", costs_credit=True),
    Action(
        "luma_generate_video_from_image",
        "start a video that begins or ends with an image",
        "prompt and start_image_url or end_image_url",
        costs_credit=True,
    ),
    Action(
        "luma_extend_video", "continue a finished video by its id", "video_id of a finished task", costs_credit=True
    ),
    Action("luma_extend_video_from_url", "continue a finished video by its URL", "video_url", costs_credit=True),
    Action("luma_get_tasks_batch", "look at many generations at once", "task_ids", costs_credit=False),
    Action("luma_get_task", "look at one generation", "task_id", costs_credit=False),
    Action("luma_list_tasks", "list earlier submissions, to find lost ids", "nothing", costs_credit=False),
    Action("luma_get_usage", "see what was spent and what is left", "nothing", costs_credit=False),
    Action("luma_list_aspect_ratios", "list the aspect ratios", "nothing", costs_credit=False),
    Action("luma_list_actions", "list what can be done", "nothing", costs_credit=False),
)

WORKFLOW = (
    "Submit every video first, keep the task ids, then ask luma_get_tasks_batch about all of them at once with "
    "wait_seconds 50, and again until ask_again_in_seconds is null."
)

_INSTRUCTIONS = (
    "Makes videos with Luma Dream Machine. A generation costs credits of the caller's {backend} account, takes "
    f"{{duration}}, and is never waited for in the call that starts it. {WORKFLOW} If your client times out, ask again "
    "with a smaller wait_seconds, and never submit again. Never submit the same video twice because it is slow. Result "
    "URLs live for {link_days} days: hand them to the user."
)

_GENERATION_GUIDE = f"""How to make a video with Luma

1. Choose the tool
- words only: luma_generate_video
- a first or last frame: luma_generate_video_from_image (start_image_url, end_image_url or both; public links)
- continue a finished video: luma_extend_video with its video_id, or luma_extend_video_from_url with its URL

2. Write the prompt
Name the subject, what it does, the place, the light, the camera and the style, in one to three sentences. Describe
motion: a video of a still scene looks like a photograph. Leave enhancement on unless the wording must stay exact.

3. Submit once, then ask
{WORKFLOW} A generation takes {{duration}}. Submitting again buys a second video.

4. Hand over
Give the user the video_url; it works for {{link_days}} days. Keep the video_id: extending needs it.
"""

_WORKFLOW_EXAMPLES = """Workflows

One video
  luma_generate_video(prompt="…") -> task_id
  luma_get_task(task_id, wait_seconds=50), again until it is completed or failed

Many videos
  luma_generate_video(…) once for each, at most {generations_at_once} running at a time -> task ids
  luma_get_tasks_batch(task_ids=[…], wait_seconds=50), again until ask_again_in_seconds is null

A longer story
  luma_generate_video(…) -> task_id; when completed it has a video_id
  luma_extend_video(video_id, prompt="what happens next") -> a new task_id; repeat

From picture to picture
  luma_generate_video_from_image(prompt="…", start_image_url="https://…", end_image_url="https://…")

When something fails
  state failed: read its error; change the prompt if it was refused, submit again if the backend failed
  unavailable: the task is safe, ask again; missing: check the id
  no_credit or unauthorized: tell the user, retrying does not help
"""


def instructions(backend: BackendDescription) -> str:
    """Return the server instructions, which a client shows to its model."""
    return backend.say(_INSTRUCTIONS)


def generation_guide(backend: BackendDescription) -> str:
    """Return the text of the prompt that explains how to make a video."""
    return backend.say(_GENERATION_GUIDE)


def workflow_examples(backend: BackendDescription) -> str:
    """Return the text of the prompt that shows sequences of calls."""
    return backend.say(_WORKFLOW_EXAMPLES)


def prompt_suggestions(subject: str | None, aspect_ratio: str | None) -> str:
    """Return the text of the prompt that asks the model for prompt ideas. None leaves that choice to the model."""
    about = f" about: {subject}" if subject else ""
    ratios = {ratio.aspect_ratio: ratio for ratio in RATIO_USES}
    chosen = ratios.get(aspect_ratio) if aspect_ratio else None  # type: ignore[call-overload]
    frame = f" Compose for {chosen.aspect_ratio} ({chosen.shape}: {chosen.good_for})." if chosen else ""
    return (
        f"Suggest five prompts for short Luma videos{about}.{frame}\n"
        "Each is one to three sentences with a subject, an action, a place, light, a camera movement and a style, for "
        "example:\n"
        "- A red fox trots through fresh snow at dawn, breath steaming, slow dolly alongside, soft golden light, "
        "nature documentary.\n"
        "- Neon rain on an empty Tokyo crossing, a cyclist glides past, low tracking shot, reflections, film grain.\n"
        "- Paper boats race down a stream in spring, macro lens, playful stop-motion look.\n"
        "Show them to the user and generate only those that the user picks: each costs credits."
    )
