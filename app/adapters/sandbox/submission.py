"""Validates the bodies of requests to /luma/videos as AceDataCloud does."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.adapters.sandbox.faults import BAD_REQUEST, NO_PROMPT, NO_SOURCE_VIDEO, Refused

TIMEOUT_SECONDS = 300.0
"""Default `timeout` of a synchronous request. Source: AceDataCloud's OpenAPI document."""


class Submission(BaseModel):
    """A valid body of a request to /luma/videos. The fields are those of AceDataCloud's OpenAPI document.

    Null is treated like an absent field, and unknown fields are ignored, because first-party clients send both.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    action: Literal["generate", "extend"] | None = None
    prompt: str | None = None
    aspect_ratio: str | None = None
    loop: bool | None = None
    enhancement: bool | None = None
    start_image_url: str | None = None
    end_image_url: str | None = None
    video_id: str | None = None
    video_url: str | None = None
    timeout: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    callback_url: str | None = None
    wants_async: bool | None = Field(default=None, alias="async")

    @classmethod
    def of(cls, body: dict[str, Any] | None) -> Self:
        """Return the submission in `body` (None: not a JSON object). Raises Refused if it is not valid."""
        try:
            submission = cls.model_validate(body)
        except ValidationError as exc:
            raise Refused(BAD_REQUEST) from exc
        if not (submission.prompt or "").strip():
            raise Refused(NO_PROMPT)
        if submission.is_extension and submission.source_video is None:
            raise Refused(NO_SOURCE_VIDEO)
        return submission

    @property
    def is_extension(self) -> bool:
        """Whether the request extends an earlier video; the default action is `generate`."""
        return self.action == "extend"

    @property
    def source_video(self) -> str | None:
        """The id or URL of the video to extend; the id if both were sent."""
        return self.video_id or self.video_url or None

    @property
    def has_frames(self) -> bool:
        """Whether the request has a start or end image."""
        return bool(self.start_image_url or self.end_image_url)

    @property
    def is_async(self) -> bool:
        """Whether the task id is returned at once. Either `async` or a callback URL requests that."""
        return bool(self.wants_async or self.callback_url)

    @property
    def wait_seconds(self) -> float | None:
        """Seconds for which a synchronous request waits for the result; None for an asynchronous one."""
        if self.is_async:
            return None
        return TIMEOUT_SECONDS if self.timeout is None else self.timeout
