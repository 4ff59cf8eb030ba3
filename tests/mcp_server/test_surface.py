"""The published tools, prompts and resources: a snapshot, a budget of tokens, and the validity of their schemas."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import jsonschema
import pytest
import pytest_asyncio
from pydantic.fields import FieldInfo

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.generation import MAX_PROMPT_LENGTH
from app.domain.untrusted_text import MAX_ID_LENGTH
from app.mcp_server.reference import ACTIONS
from app.mcp_server.tools.arguments import MAX_PAGE_SIZE, MAX_TIMEOUT_SECONDS, MAX_WAIT_SECONDS
from app.mcp_server.tools.catalog import build_catalog
from tests.support.clock import HandClock
from tests.support.service import ERAS, MODERN, SECONDS, Service, compact, sandbox, serving, settings, text_of
from tests.support.tokens import tokens

pytestmark = pytest.mark.asyncio(loop_scope="module")

SNAPSHOT = Path(__file__).with_name("tools_list.json")
MAX_DEFINITIONS = 2600
"""Tokens of the eight tools with which the service began."""

LATER_TOOLS = ("luma_list_tasks", "luma_get_usage")
MAX_LATER_TOOL = 220
MAX_BATCH_TEXT = 5000
MAX_BATCH_JSON = 12_000
BATCH_LIMIT = 200
REFRESH = "python -m tests.mcp_server.refresh"


@pytest.fixture(scope="module")
def time() -> HandClock:
    return HandClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(time: HandClock) -> AsyncIterator[Service]:
    async with serving(settings(), sandbox(time), time) as running:
        yield running


async def listed(service: Service, era: str = MODERN) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = (await service.request("tools/list", era=era))["result"]["tools"]
    return tools


async def test_the_tools_are_those_of_the_snapshot_to_the_byte(service: Service) -> None:
    shown = json.dumps(await listed(service), indent=1, ensure_ascii=False) + "\n"
    assert shown == SNAPSHOT.read_text(encoding="utf-8"), f"if it was meant, write it anew: {REFRESH}"


async def test_the_list_is_the_same_from_call_to_call_and_caller_to_caller(service: Service) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answers = {(await service.post(message, token=f"token-{n}")).content for n in range(5)}
    assert len(answers) == 1


async def test_a_free_tool_with_a_required_argument_stands_first(service: Service) -> None:
    first = (await listed(service))[0]
    assert first["annotations"]["readOnlyHint"] is True
    assert first["inputSchema"]["required"]


def definition_tokens(tool: dict[str, Any]) -> int:
    return tokens(tool["name"]) + tokens(tool["description"]) + tokens(compact(tool["inputSchema"]))


async def test_names_descriptions_and_input_schemas_stay_within_their_budget(service: Service) -> None:
    spent = [definition_tokens(tool) for tool in await listed(service) if tool["name"] not in LATER_TOOLS]
    assert sum(spent) < MAX_DEFINITIONS


async def test_the_tools_that_were_added_cost_little(service: Service) -> None:
    spent = [definition_tokens(tool) for tool in await listed(service) if tool["name"] in LATER_TOOLS]
    assert sum(spent) < 2 * MAX_LATER_TOOL


async def test_every_tool_says_all_that_a_client_asks_for(service: Service) -> None:
    hints = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    for tool in await listed(service):
        assert tool["title"]
        assert hints <= tool["annotations"].keys()
        assert tool["annotations"]["destructiveHint"] is False
        refuses_unknown = tool["inputSchema"].get("additionalProperties") is False
        assert refuses_unknown is not tool["annotations"]["readOnlyHint"], "as calls with unknown arguments are treated"
        assert tool["outputSchema"]["required"] == ["result"]


async def test_tools_that_spend_are_not_called_read_only(service: Service) -> None:
    costs = {action.tool: action.costs_credit for action in ACTIONS}
    for tool in await listed(service):
        assert tool["annotations"]["readOnlyHint"] is not costs[tool["name"]]


async def test_the_guide_names_every_tool_and_no_other() -> None:
    assert {action.tool for action in ACTIONS} == {tool.name for tool in build_catalog(200, ACEDATACLOUD)}


async def test_the_batch_limit_of_the_settings_is_in_the_schema_and_the_description() -> None:
    tool = build_catalog(17, ACEDATACLOUD)[0].published()
    assert tool.input_schema["properties"]["task_ids"]["maxItems"] == 17
    assert "17" in (tool.description or "")


async def test_the_batch_says_how_many_ids_are_wise() -> None:
    ids = build_catalog(200, ACEDATACLOUD)[0].published().input_schema["properties"]["task_ids"]
    assert "up to 50" in ids["description"], "the number of tasks whose result most clients show uncut"


async def test_the_instructions_name_the_cure_for_a_time_out(service: Service) -> None:
    discovered = (await service.request("server/discover"))["result"]
    assert "smaller wait_seconds" in discovered["instructions"]
    assert "never submit again" in discovered["instructions"]


async def test_tools_that_spend_say_what_to_do_when_the_outcome_is_unknown(service: Service) -> None:
    spending = [tool["description"] for tool in await listed(service) if not tool["annotations"]["readOnlyHint"]]
    assert len(spending) == 4
    for description in spending:
        assert "after backend_timeout or no answer repeat the call with the same key" in description
        assert "without one see luma_list_tasks" in description
        assert len(description.rpartition("Needs your token")[2].split()) <= 90, "the part that all four share"


async def test_extending_tools_say_what_is_not_documented(service: Service) -> None:
    extending = [tool["description"] for tool in await listed(service) if tool["name"].startswith("luma_extend_")]
    assert len(extending) == 2
    assert all("added length and repeated footage are undocumented" in description for description in extending)


async def test_each_tool_names_the_one_to_use_instead(service: Service) -> None:
    tools = {tool["name"]: tool["description"] for tool in await listed(service)}
    for name, description in tools.items():
        others = {other for other in tools if other != name and re.search(rf"\b{other}\b", description)}
        assert others or "Not needed when" in description, name


async def test_long_descriptions_have_paragraphs(service: Service) -> None:
    for tool in await listed(service):
        assert max(map(len, tool["description"].split("\n\n"))) <= 460, tool["name"]


async def test_each_parameter_is_described_so_that_it_stands_alone(service: Service) -> None:
    for tool in await listed(service):
        for name, parameter in tool["inputSchema"]["properties"].items():
            assert parameter["description"], name
            assert not re.search(r"\b(see above|see below|as above|as for|same as)\b", parameter["description"]), name


async def test_every_result_fits_the_schema_that_was_published(service: Service, time: HandClock) -> None:
    schemas = {tool["name"]: tool["outputSchema"] for tool in await listed(service)}
    image = "https://images.example.com/a.png"
    generated = await service.call("luma_generate_video", {"prompt": "A fox"})
    task_id = generated["structuredContent"]["result"]["task_id"]
    failed = await service.ask("luma_generate_video", {"prompt": "A fox [moderated]"})
    time.advance(SECONDS)
    done = await service.ask("luma_get_task", {"task_id": task_id})
    calls = [
        ("luma_generate_video", {"prompt": "A fox"}),
        ("luma_generate_video_from_image", {"prompt": "A fox", "start_image_url": image}),
        ("luma_extend_video", {"prompt": "It jumps", "video_id": done["video_id"]}),
        ("luma_extend_video_from_url", {"prompt": "It jumps", "video_url": done["video_url"]}),
        ("luma_get_task", {"task_id": task_id}),
        ("luma_get_tasks_batch", {"task_ids": [task_id, failed["task_id"], "unknown"]}),
        ("luma_list_aspect_ratios", {}),
        ("luma_list_actions", {}),
        ("luma_generate_video", {"prompt": "[broke]"}),
        ("luma_get_task", {"task_id": "unknown"}),
        ("luma_get_tasks_batch", {"task_ids": []}),
        ("luma_get_tasks_batch", {"task_ids": [task_id, failed["task_id"], "unknown"], "detail": "full"}),
        ("luma_list_actions", {"surprise": 1}),
        ("luma_list_tasks", {"limit": 1}),
        ("luma_list_tasks", {"cursor": "junk"}),
    ]
    for era in ERAS:
        for tool, arguments in calls:
            result = await service.call(tool, arguments, era=era)
            jsonschema.validate(result["structuredContent"], schemas[tool])
            assert text_of(result)


async def test_fifty_finished_tasks_are_few_tokens_and_enough_alone(service: Service, time: HandClock) -> None:
    started = [await service.ask("luma_generate_video", {"prompt": f"Fox {n}"}) for n in range(50)]
    task_ids = [result["task_id"] for result in started]
    time.advance(SECONDS)
    result = await service.call("luma_get_tasks_batch", {"task_ids": task_ids})
    text = text_of(result)
    assert tokens(text) <= MAX_BATCH_TEXT
    assert len(compact(result["structuredContent"])) <= MAX_BATCH_JSON
    for task in result["structuredContent"]["result"]["tasks"]:
        line = next(line for line in text.splitlines() if line.startswith(task["task_id"]))
        assert line == f"{task['task_id']} completed video_id={task['video_id']} {task['video_url']}"


async def test_what_is_not_known_is_left_out(service: Service) -> None:
    started = await service.ask("luma_generate_video", {"prompt": "A fox"})
    batch = await service.ask("luma_get_tasks_batch", {"task_ids": [started["task_id"]]})
    full = await service.ask("luma_get_task", {"task_id": started["task_id"]})
    assert batch["tasks"][0].keys() == {"task_id", "state", "elapsed_seconds", "likely_stuck"}
    assert full.keys() == {*batch["tasks"][0], "prompt", "created_at", "ask_again_in_seconds"}
    assert None not in batch["tasks"][0].values()


async def test_input_schemas_say_in_words_what_gateways_refuse_as_keywords(service: Service) -> None:
    for tool in await listed(service):
        said = json.dumps(tool["inputSchema"])
        assert not any(
            word in said for word in ("anyOf", "exclusiveM", "minLength", "maxLength", "null", "title", "$ref")
        )
        for name, argument in tool["inputSchema"]["properties"].items():
            words = argument["description"]
            is_optional = name not in tool["inputSchema"].get("required", ())
            assert not is_optional or "default" in words.lower(), (tool["name"], name)
            assert all(choice in words for choice in argument.get("enum", ())), (tool["name"], name)
            assert "see above" not in words


BOUNDS = {
    "prompt": (1, MAX_PROMPT_LENGTH),
    "idempotency_key": (1, MAX_ID_LENGTH),
    "timeout": (0, MAX_TIMEOUT_SECONDS),
    "wait_seconds": (0, MAX_WAIT_SECONDS),
    "limit": (1, MAX_PAGE_SIZE),
    "task_ids": (1, BATCH_LIMIT),
}
"""The least and the most of arguments, which the service checks and schemas leave out. Ids and URLs have no room."""

PARAMETERS = [
    pytest.param(
        tool.published(with_confirm=True).input_schema["properties"][name]["description"],
        name,
        field,
        id=f"{tool.name}-{name}",
    )
    for tool in build_catalog(BATCH_LIMIT, ACEDATACLOUD)
    for name, field in tool.arguments.model_fields.items()
]


@pytest.mark.parametrize(("description", "name", "field"), PARAMETERS)
async def test_each_parameter_says_least_most_default_and_choices(
    description: str, name: str, field: FieldInfo
) -> None:
    numbers = set(map(int, re.findall(r"(?<![:\w])\d+(?![:\w])", description)))
    words = set(re.findall(r"[\w:]+", description))
    choices = {word for word in _literals(field.annotation) if isinstance(word, str)}
    assert set(BOUNDS.get(name, ())) <= numbers
    assert name in BOUNDS or float not in (field.annotation, *get_args(field.annotation)), "a number has bounds"
    assert choices <= words
    if field.is_required():
        return
    assert "default" in description.lower()
    if isinstance(field.default, bool):
        assert str(field.default).lower() in words
    elif isinstance(field.default, int):
        assert field.default in numbers
    elif field.default:
        assert field.default in words


def _literals(annotation: Any) -> list[Any]:
    """Return the values of a Literal, also where a union holds it."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _literals(part)]


async def test_confirm_is_listed_with_a_description_where_it_is_needed() -> None:
    billable = [tool for tool in build_catalog(BATCH_LIMIT, ACEDATACLOUD) if tool.is_billable]
    assert len(billable) == 4
    for tool in billable:
        assert "confirm" in tool.published(with_confirm=True).input_schema["properties"]
        assert "confirm" not in tool.published().input_schema["properties"]


async def test_output_schemas_repeat_no_titles_and_refer_only_to_what_is_used_twice(service: Service) -> None:
    for tool in await listed(service):
        said = json.dumps(tool["outputSchema"])
        assert '"title"' not in said
        for name in tool["outputSchema"].get("$defs", {}):
            assert said.count(f"#/$defs/{name}") > 1


async def test_a_final_result_under_the_tasks_extension_fits_the_tools_schema(
    service: Service, time: HandClock
) -> None:
    schemas = {tool["name"]: tool["outputSchema"] for tool in await listed(service)}
    declared: dict[str, Any] = {
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    }
    for prompt in ("A fox", "A fox [fail]"):
        call = {"name": "luma_generate_video", "arguments": {"prompt": prompt}, "_meta": declared}
        handle = (await service.request("tools/call", call))["result"]["taskId"]
        time.advance(SECONDS)
        done = (await service.request("tasks/get", {"taskId": handle, "_meta": declared}))["result"]
        jsonschema.validate(done["result"]["structuredContent"], schemas["luma_generate_video"])


async def test_prompts_and_completion(service: Service) -> None:
    prompts = (await service.request("prompts/list"))["result"]["prompts"]
    assert [prompt["name"] for prompt in prompts] == [
        "luma_video_generation_guide",
        "luma_workflow_examples",
        "luma_prompt_suggestions",
    ]
    given = {"name": "luma_prompt_suggestions", "arguments": {"aspect_ratio": "9:16", "subject": "foxes"}}
    text = (await service.request("prompts/get", given))["result"]["messages"][0]["content"]["text"]
    assert "9:16" in text
    assert "foxes" in text
    for name in ("luma_video_generation_guide", "luma_workflow_examples"):
        assert "luma_get_task" in str(await service.request("prompts/get", {"name": name}))


@pytest.mark.parametrize(
    ("prompt", "argument", "value", "expected"),
    [
        ("luma_prompt_suggestions", "aspect_ratio", "", ["16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"]),
        ("luma_prompt_suggestions", "aspect_ratio", "9", ["9:16", "9:21"]),
        ("luma_prompt_suggestions", "aspect_ratio", "x", []),
        ("luma_prompt_suggestions", "subject", "", []),
        ("luma_workflow_examples", "aspect_ratio", "", []),
    ],
)
async def test_the_aspect_ratio_completes_where_a_prompt_takes_it(
    service: Service, prompt: str, argument: str, value: str, expected: list[str]
) -> None:
    params = {"ref": {"type": "ref/prompt", "name": prompt}, "argument": {"name": argument, "value": value}}
    answer = await service.request("completion/complete", params)
    assert answer["result"]["completion"]["values"] == expected


@pytest.mark.parametrize("arguments", [{"aspect_ratio": "5:4"}, {"mood": "sad"}])
async def test_a_prompt_argument_that_does_not_exist_is_invalid_params(
    service: Service, arguments: dict[str, str]
) -> None:
    answer = await service.request("prompts/get", {"name": "luma_prompt_suggestions", "arguments": arguments})
    assert answer["error"]["code"] == -32602
