"""Commands to the backend, validated on creation."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from app.domain.errors import InvalidRequest

AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"]
"""The seven aspect ratios of Luma Dream Machine. A backend may support fewer."""

ASPECT_RATIOS: tuple[AspectRatio, ...] = get_args(AspectRatio)

MAX_PROMPT_LENGTH = 5000
"""Luma's limit, in characters."""


@dataclass(frozen=True, slots=True)
class GenerateVideo:
    """A command for a new video from a prompt and optional images.

    Attributes:
        enhancement: whether the backend may rewrite the prompt.
        timeout_seconds: time limit of the generation at the backend; None leaves it to the backend.
        callback_url: URL that the backend calls when the task ends; None for no callback.

    """

    prompt: str = field(repr=False)
    aspect_ratio: AspectRatio = "16:9"
    loop: bool = False
    enhancement: bool = True
    start_image_url: str | None = field(default=None, repr=False)
    end_image_url: str | None = field(default=None, repr=False)
    timeout_seconds: float | None = None
    callback_url: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a prompt that the backend would refuse, before it costs a call."""
        _require_prompt(self.prompt)


@dataclass(frozen=True, slots=True)
class ExtendVideo:
    """A command for a continuation of an earlier video. Exactly one of `video_id` and `video_url` is given."""

    prompt: str = field(repr=False)
    video_id: str | None = None
    video_url: str | None = field(default=None, repr=False)
    end_image_url: str | None = field(default=None, repr=False)
    callback_url: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raise InvalidRequest for a command that the backend would refuse, before it costs a call."""
        _require_prompt(self.prompt)
        if (self.video_id is None) == (self.video_url is None):
            raise InvalidRequest("An extension needs the earlier video's id or its URL, and not both.")


Command = GenerateVideo | ExtendVideo


def _require_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise InvalidRequest("`prompt` is empty. Describe the video in words.")
    if len(prompt) > MAX_PROMPT_LENGTH:
        raise InvalidRequest(f"`prompt` is longer than {MAX_PROMPT_LENGTH} characters. Shorten it.")
