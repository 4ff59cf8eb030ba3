"""The handlers of the four billable tools, which start a generation."""

from app.domain.errors import InvalidRequest
from app.domain.freshness import PollingPolicy
from app.domain.generation import Command, ExtendVideo, GenerateVideo
from app.domain.public_url import check_public_url
from app.domain.task import LookupStats
from app.mcp_server.tools.arguments import (
    ExtendArguments,
    ExtendFromUrlArguments,
    GenerateArguments,
    GenerateFromImageArguments,
    SpendingArguments,
)
from app.mcp_server.tools.confirmation import Confirmation
from app.mcp_server.tools.definition import Call
from app.mcp_server.tools.results import SubmittedView
from app.mcp_server.tools.tool_result import ToolResult, tool_result
from app.services.purchases.owned_videos import OwnedVideos
from app.services.purchases.request import fingerprint
from app.services.purchases.service import GenerationRequest, VideoService


class VideoTools:
    """The handlers of the tools that start a generation."""

    def __init__(  # noqa: PLR0913, PLR0917 - the dependencies of a submission
        self,
        videos: VideoService,
        owned: OwnedVideos,
        confirmation: Confirmation,
        polling: PollingPolicy,
        media_url: str | None,
        own_hosts: frozenset[str],
    ) -> None:
        """Submit with `videos`. Results advise when to ask about the task, by `polling`.

        `owned` checks that a caller may extend a video. `confirmation` asks the user before costly generations.

        `media_url` is the URL under which the sandbox serves its videos, which may be extended; None outside the
        sandbox. `own_hosts` are the host names of this service. No other URL in arguments may point to them.
        """
        self._videos = videos
        self._owned = owned
        self._confirmation = confirmation
        self._polling = polling
        self._media_url = media_url
        self._own_hosts = own_hosts

    async def generate_video(self, call: Call, arguments: GenerateArguments) -> ToolResult:
        """Start a video from words."""
        command = GenerateVideo(
            prompt=arguments.prompt,
            aspect_ratio=arguments.aspect_ratio,
            loop=arguments.loop,
            enhancement=arguments.enhancement,
            timeout_seconds=arguments.timeout,
            callback_url=self._optional_url(arguments.callback_url, "callback_url"),
        )
        return await self._start(call, command, "luma_generate_video", arguments)

    async def generate_video_from_image(self, call: Call, arguments: GenerateFromImageArguments) -> ToolResult:
        """Start a video that begins or ends with an image. Raises InvalidRequest without an image."""
        start_image_url = self._optional_url(arguments.start_image_url, "start_image_url")
        end_image_url = self._optional_url(arguments.end_image_url, "end_image_url")
        if start_image_url is None and end_image_url is None:
            raise InvalidRequest(
                "Give `start_image_url`, `end_image_url` or both; without images use luma_generate_video."
            )
        command = GenerateVideo(
            prompt=arguments.prompt,
            aspect_ratio=arguments.aspect_ratio,
            loop=arguments.loop,
            enhancement=arguments.enhancement,
            start_image_url=start_image_url,
            end_image_url=end_image_url,
            timeout_seconds=arguments.timeout,
            callback_url=self._optional_url(arguments.callback_url, "callback_url"),
        )
        return await self._start(call, command, "luma_generate_video_from_image", arguments)

    async def extend_video(self, call: Call, arguments: ExtendArguments) -> ToolResult:
        """Continue a finished video by its id."""
        end_image_url = self._optional_url(arguments.end_image_url, "end_image_url")
        command = ExtendVideo(
            arguments.prompt,
            video_id=arguments.video_id,
            end_image_url=end_image_url,
            callback_url=self._optional_url(arguments.callback_url, "callback_url"),
        )
        await self._owned.check(call.caller, command)
        return await self._start(call, command, "luma_extend_video", arguments)

    async def extend_video_from_url(self, call: Call, arguments: ExtendFromUrlArguments) -> ToolResult:
        """Continue a finished video by its URL."""
        video_url = self._checked_url(arguments.video_url, "video_url")
        end_image_url = self._optional_url(arguments.end_image_url, "end_image_url")
        command = ExtendVideo(
            arguments.prompt,
            video_url=video_url,
            end_image_url=end_image_url,
            callback_url=self._optional_url(arguments.callback_url, "callback_url"),
        )
        await self._owned.check(call.caller, command)
        return await self._start(call, command, "luma_extend_video_from_url", arguments)

    async def _start(self, call: Call, command: Command, tool: str, arguments: SpendingArguments) -> ToolResult:
        request = GenerationRequest(
            command,
            fingerprint(tool, arguments.purchase_arguments()),
            arguments.idempotency_key,
            arguments.retry_unknown,
            call.request_id,
        )
        request = self._confirmation.require(call, request, is_confirmed=arguments.confirm)
        purchase = await self._videos.start(call.caller, request)
        wait, expected = self._polling.client_first_poll_seconds, self._polling.expected_seconds
        beginning = "Already started by an earlier call with this key" if purchase.replayed else "Started"
        message = (
            f"{beginning}; it usually takes about {expected:g} s. Ask luma_get_tasks_batch in {wait} s, or at once "
            "with wait_seconds, about all your tasks in one call. Do not submit it again."
        )
        view: SubmittedView = {
            "task_id": purchase.task_id,
            "state": "pending",
            "ask_again_in_seconds": wait,
            "expected_seconds": expected,
            "message": message,
        }
        if purchase.replayed:
            view["replayed"] = True
        return tool_result(
            f"task_id {purchase.task_id} pending. {message}",
            view,
            stats=LookupStats(backend_calls=0 if purchase.replayed else 1),
            started=purchase.task_id,
        )

    def _optional_url(self, value: str | None, argument: str) -> str | None:
        """Return a URL that may be sent to the backend; None for an empty one. Raises InvalidRequest."""
        return self._checked_url(value, argument) if value else None

    def _checked_url(self, value: str, argument: str) -> str:
        return check_public_url(value, argument, own_prefix=self._media_url, own_hosts=self._own_hosts)
