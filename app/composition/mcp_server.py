"""Builds the MCP server of a process, for one transport."""

from app.composition.application import Assembly
from app.composition.backend import media_url_of
from app.composition.description import VERSION
from app.domain.public_url import hosts_in
from app.mcp_server.extensions.handled_tasks import HandledTasks
from app.mcp_server.extensions.subscriptions import SubscriptionStreams
from app.mcp_server.extensions.task_handles import TaskHandles
from app.mcp_server.extensions.tasks import TasksExtension
from app.mcp_server.request_log import RequestLog
from app.mcp_server.resources.tasks import TaskResources
from app.mcp_server.server import LISTS_TTL_MS, McpServer, add_request_handlers, build_server, result_meta
from app.mcp_server.tools.call_handler import RequestContext, ToolCallHandler
from app.mcp_server.tools.confirmation import Confirmation
from app.mcp_server.tools.definition import Handler, bind
from app.mcp_server.tools.list_tool import ListTool
from app.mcp_server.tools.reference_tools import ReferenceTools
from app.mcp_server.tools.task_tools import TaskTools
from app.mcp_server.tools.tool_lists import ToolLists
from app.mcp_server.tools.usage_tool import UsageTool
from app.mcp_server.tools.video_tools import VideoTools
from app.observability.call_log import CallLog, call_formatter
from app.observability.tracing import replace_spans
from app.services.purchases.owned_videos import OwnedVideos
from app.services.tasks.cancel_marks import CancelMarks
from app.settings import Settings


def build_mcp_server(settings: Settings, assembly: Assembly, context: RequestContext) -> McpServer:
    """Return the MCP server that uses the parts in `assembly`. `context` is the RequestContext of the transport.

    Raises ValueError for a tool without a handler, or a handler without a tool.
    """
    backend, clocks = assembly.backend.description, assembly.clocks
    logs_calls = settings.log_level in ("DEBUG", "INFO")
    call_log = CallLog(assembly.metrics, call_formatter(settings.log_format) if logs_calls else None)
    resources = TaskResources(assembly.tasks, assembly.submitted, backend, context, clocks.wall)
    lists = ToolLists(assembly.tools, LISTS_TTL_MS)
    server = build_server(lists, resources, backend, context, version=VERSION)
    extension = _tasks_extension(assembly, context)
    tools = bind(assembly.tools, tool_handlers(settings, assembly, lists))
    call_handler = ToolCallHandler(
        tools, backend, context, call_log, extension, result_meta(server), assembly.rate_limits
    )
    subscriptions = SubscriptionStreams(
        assembly.tasks, assembly.pollers, assembly.listeners, extension, context, clocks.sleep
    )
    add_request_handlers(server, call_handler, subscriptions, extension)
    replace_spans(server, set(tools))
    return McpServer(server, call_handler, subscriptions, RequestLog(context, call_log, backend, assembly.rate_limits))


def tool_handlers(settings: Settings, assembly: Assembly, lists: ToolLists) -> dict[str, Handler]:
    """Return the handler of each tool, by the name of the tool."""
    backend, media_url = assembly.backend.description, media_url_of(assembly.sandbox)
    own_hosts = hosts_in([*settings.hosts(), *((media_url,) if media_url is not None else ())])
    tasks = TaskTools(assembly.tasks, assembly.waiter, assembly.work_turns, backend, assembly.clocks.wall)
    submissions = ListTool(assembly.tasks, assembly.submitted, assembly.shared.sealer, backend)
    usage = UsageTool(assembly.tasks, assembly.usage, assembly.rate_limits, backend)
    owned = OwnedVideos(assembly.tasks, assembly.submitted, backend)
    confirmation = Confirmation(backend, assembly.shared.sealer, assembly.clocks.wall)
    videos = VideoTools(assembly.videos, owned, confirmation, backend.policy.polling, media_url, own_hosts)
    reference = ReferenceTools(lists)
    return {
        "luma_get_tasks_batch": tasks.get_tasks_batch,
        "luma_get_task": tasks.get_task,
        "luma_list_tasks": submissions.list_tasks,
        "luma_get_usage": usage.get_usage,
        "luma_generate_video": videos.generate_video,
        "luma_generate_video_from_image": videos.generate_video_from_image,
        "luma_extend_video": videos.extend_video,
        "luma_extend_video_from_url": videos.extend_video_from_url,
        "luma_list_aspect_ratios": reference.list_aspect_ratios,
        "luma_list_actions": reference.list_actions,
    }


def _tasks_extension(assembly: Assembly, context: RequestContext) -> TasksExtension:
    shared, wall_clock = assembly.shared, assembly.clocks.wall
    cancel_marks = CancelMarks(shared.coordination, shared.signing, shared.keys, wall_clock)
    tasks = HandledTasks(assembly.tasks, shared.snapshots, cancel_marks, assembly.backend.description, wall_clock)
    return TasksExtension(TaskHandles(shared.sealer, wall_clock), tasks, context)
