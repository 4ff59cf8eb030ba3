"""Commands to the backend. They are validated when they are created."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from app.domain.errors import InvalidRequest

AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"]
"""The seven ratios that Luma makes; a backend may offer fewer of them."""

ASPECT_RATIOS: tuple[AspectRatio, ...] = get_args(AspectRatio)

LONGEST_PROMPT = 5000
"""Characters; Luma's own limit."""


@dataclass(frozen=True, slots=True)
class GenerateVideo:
    """A new video from words, or from words and images. None leaves a choice to the backend."""

    prompt: str = field(repr=False)
    aspect_ratio: AspectRatio = "16:9"
    loop: bool = False
    enhancement: bool = True
    start_image_url: str | None = field(default=None, repr=False)
    end_image_url: str | None = field(default=None, repr=False)
    timeout_seconds: float | None = None
    callback_url: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what the backend would refuse, before it costs a call."""
        _require_prompt(self.prompt)


@dataclass(frozen=True, slots=True)
class ExtendVideo:
    """A continuation of an earlier video, named by its id or its URL: exactly one of the two."""

    prompt: str = field(repr=False)
    video_id: str | None = None
    video_url: str | None = field(default=None, repr=False)
    end_image_url: str | None = field(default=None, repr=False)
    callback_url: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what the backend would refuse, before it costs a call."""
        _require_prompt(self.prompt)
        if (self.video_id is None) == (self.video_url is None):
            raise InvalidRequest("An extension needs the earlier video's id or its URL, and not both.")


Command = GenerateVideo | ExtendVideo


def _require_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise InvalidRequest("`prompt` is empty. Describe the video in words.")
    if len(prompt) > LONGEST_PROMPT:
        raise InvalidRequest(f"`prompt` is longer than {LONGEST_PROMPT} characters. Shorten it.")
