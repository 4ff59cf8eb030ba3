"""Validates requests to /luma/videos by the rules of AceDataCloud."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.adapters.sandbox.faults import BAD_REQUEST, NO_PROMPT, NO_SOURCE, Refused

TIMEOUT_SECONDS = 300.0
"""How long a synchronous request is held where it does not say, by AceDataCloud's OpenAPI document."""


class Submission(BaseModel):
    """A well-formed body of /luma/videos, with the fields of AceDataCloud's OpenAPI document.

    Null counts as not sent and unknown fields are ignored: first-party clients send both.
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
        """Return the submission in `body` (None: it was not a JSON object); raise `Refused` if it is none."""
        try:
            submission = cls.model_validate(body)
        except ValidationError as error:
            raise Refused(BAD_REQUEST) from error
        if not (submission.prompt or "").strip():
            raise Refused(NO_PROMPT)
        if submission.extends and submission.source is None:
            raise Refused(NO_SOURCE)
        return submission

    @property
    def extends(self) -> bool:
        """Whether an earlier video is to be continued; `generate` is the default action."""
        return self.action == "extend"

    @property
    def source(self) -> str | None:
        """The id or URL of the video to continue; the id wins where both were sent."""
        return self.video_id or self.video_url or None

    @property
    def has_image(self) -> bool:
        """Whether a first or last frame was given."""
        return bool(self.start_image_url or self.end_image_url)

    @property
    def answers_at_once(self) -> bool:
        """Whether the task id is answered now; a callback URL says so as well as `async` does."""
        return bool(self.wants_async or self.callback_url)

    @property
    def patience_seconds(self) -> float | None:
        """How long the request is held for the result, or None where it is not held."""
        if self.answers_at_once:
            return None
        return TIMEOUT_SECONDS if self.timeout is None else self.timeout
