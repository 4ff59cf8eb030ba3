"""Coercion of arguments in another JSON type, and refusal of unknown ones."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.domain.errors import InvalidRequest
from app.mcp_server.tools.arguments import (
    BatchArguments,
    ExtendArguments,
    ExtendFromUrlArguments,
    GenerateArguments,
    GenerateFromImageArguments,
    ListArguments,
    NoArguments,
    TaskArguments,
    batch_arguments,
)
from app.mcp_server.tools.coercion import MAX_IDS, coerce_arguments
from app.mcp_server.tools.validation import read_arguments
from app.settings import Settings
from tests.support.clock import HandClock
from tests.support.service import Service, sandbox, serving, settings

TASKS = batch_arguments(200)


def read(model: Any, **given: Any) -> dict[str, Any]:
    return read_arguments(model, given).model_dump(exclude_unset=True)


@pytest.mark.parametrize("ids", ["a", ["a"], '["a"]', ' ["a"] ', "a,", " a "])
def test_one_id_is_understood_in_any_form(ids: Any) -> None:
    assert read(TASKS, task_ids=ids) == {"task_ids": ["a"]}
    assert read(TaskArguments, task_id=["a"]) == {"task_id": "a"}


@pytest.mark.parametrize("ids", [["a", "b"], '["a", "b"]', "a,b", "a b", "a\nb", "a; b"])
def test_many_ids_are_understood_as_a_list_in_a_string(ids: Any) -> None:
    assert read(TASKS, task_ids=ids) == {"task_ids": ["a", "b"]}


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("5", 5.0), (5, 5.0), (5.0, 5.0), ("5.5", 5.5), (" 7 ", 7.0), (51, 50), (1e9, 50), ("60", 50)],
)
def test_a_wait_is_understood_as_a_number_of_at_most_fifty(given: Any, seconds: float) -> None:
    assert read(BatchArguments, task_ids=["a"], wait_seconds=given)["wait_seconds"] == seconds


@pytest.mark.parametrize(("given", "meant"), [("true", True), ("False", False), (True, True), (" TRUE ", True)])
def test_a_boolean_in_a_string_is_that_boolean(given: Any, meant: bool) -> None:
    assert read(GenerateArguments, prompt="x", loop=given)["loop"] is meant


def test_a_number_in_a_string_is_that_number_for_billable_tools_too() -> None:
    assert read(GenerateArguments, prompt="x", timeout="60")["timeout"] == 60.0


OPTIONAL_TEXTS = [
    (model, name)
    for model in (GenerateArguments, GenerateFromImageArguments, ExtendArguments, ExtendFromUrlArguments, ListArguments)
    for name, field in model.model_fields.items()
    if not field.is_required() and field.default in (None, "") and name not in ("timeout", "idempotency_key")
]
BILLABLE = (GenerateArguments, GenerateFromImageArguments, ExtendArguments, ExtendFromUrlArguments)


def required_arguments(model: Any) -> dict[str, Any]:
    required = {"prompt": "x", "video_id": "v", "video_url": "https://cdn.example.com/v.mp4"}
    return {name: value for name, value in required.items() if name in model.model_fields}


@pytest.mark.parametrize(("model", "name"), OPTIONAL_TEXTS, ids=lambda one: getattr(one, "__name__", one))
@pytest.mark.parametrize("given", ["", "null", "None", "none", " ", None, "undefined"])
def test_a_text_that_means_no_value_counts_as_left_out(model: Any, name: str, given: str | None) -> None:
    others = required_arguments(model)
    read_model = read_arguments(model, {**others, name: given})
    assert read_model == read_arguments(model, others)
    assert not getattr(read_model, name)


def test_the_optional_texts_of_the_tools_are_known() -> None:
    assert {name for _, name in OPTIONAL_TEXTS} == {
        "callback_url",
        "start_image_url",
        "end_image_url",
        "state",
        "member",
        "since",
        "cursor",
    }


@pytest.mark.parametrize("model", BILLABLE)
@pytest.mark.parametrize("given", ["", "  ", "\u00a0", "null", "NONE", " undefined "])
def test_a_key_that_means_no_value_is_refused_with_advice(model: Any, given: str) -> None:
    with pytest.raises(InvalidRequest, match=r"`idempotency_key` .* leave the argument out\. Nothing was sent\."):
        read_arguments(model, {**required_arguments(model), "idempotency_key": given})


@pytest.mark.parametrize("model", BILLABLE)
def test_a_key_that_is_null_counts_as_left_out(model: Any) -> None:
    arguments = required_arguments(model)
    assert read_arguments(model, {**arguments, "idempotency_key": None}) == read_arguments(model, arguments)


@pytest.mark.parametrize("given", ["k", " k ", "nil", "0", "none-1"])
def test_any_other_key_is_unchanged(given: str) -> None:
    assert read(GenerateArguments, prompt="x", idempotency_key=given)["idempotency_key"] == given


@pytest.mark.parametrize("flag", ["confirm", "retry_unknown"])
@pytest.mark.parametrize("given", ["", "null", "none", "undefined", "yes", "1", 1])
def test_consent_is_never_guessed(flag: str, given: Any) -> None:
    with pytest.raises(InvalidRequest, match="must be true or false"):
        read(GenerateArguments, prompt="x", **{flag: given})


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (GenerateArguments, {"prompt": "x", "aspect_ratio": "none"}),
        (GenerateArguments, {"prompt": "x", "aspect_ratio": ""}),
        (GenerateArguments, {"prompt": "x", "enhancement": "none"}),
        (GenerateArguments, {"prompt": " "}),
        (ExtendFromUrlArguments, {"prompt": "x"}),
    ],
)
def test_no_value_is_refused_where_it_could_change_what_is_bought(model: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read_arguments(model, arguments)


def test_a_prompt_of_one_of_these_words_is_a_prompt() -> None:
    assert read(GenerateArguments, prompt="None")["prompt"] == "None"


@pytest.mark.parametrize(
    "added", ["wait_for_previous", "toolCallId", "sessionId", "action", "chatInput", "random_string"]
)
@pytest.mark.parametrize(
    ("model", "given"), [(NoArguments, {}), (TaskArguments, {"task_id": "a"}), (GenerateArguments, {"prompt": "x"})]
)
def test_arguments_that_clients_add_to_every_call_are_ignored(model: Any, given: dict[str, Any], added: str) -> None:
    assert read(model, **given, **{added: {"any": "thing"}}) == given


def test_an_unknown_argument_of_a_free_tool_is_ignored() -> None:
    assert read(TaskArguments, task_id="a", verbose=True) == {"task_id": "a"}


def test_an_unknown_argument_of_a_billable_tool_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidRequest, match=r"Nothing was bought\. Did you mean `aspect_ratio`\?"):
        read(GenerateArguments, prompt="x", aspectRatio="1:1")


@pytest.mark.parametrize("added", [{"wait_for_previous": False}, {"toolCallId": "1", "sessionId": "2"}])
async def test_a_purchase_with_arguments_that_clients_add_is_bought_once(
    clock: HandClock, added: dict[str, Any]
) -> None:
    backend = sandbox(clock)
    async with serving(settings(), backend, clock) as service:
        keyed = {"prompt": "A fox", "idempotency_key": "k"}
        first = await _bought(service, keyed)
        again = await _bought(service, {**keyed, **added})
    assert first == again
    assert backend.submissions("token-a") == 1


async def _bought(service: Service, arguments: dict[str, Any]) -> str:
    task_id: str = (await service.ask("luma_generate_video", arguments))["task_id"]
    return task_id


def test_a_list_over_the_largest_batch_is_refused_and_validated_only_in_part() -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, batch_limit=MAX_IDS)
    with pytest.raises(InvalidRequest, match="more than 1000"):
        read_arguments(batch_arguments(MAX_IDS - 1), {"task_ids": ["a"] * MAX_IDS})
    for texts in ([1] * 50_000, json.dumps([1] * 50_000), "a " * 50_000):
        assert len(coerce_arguments(TASKS, {"task_ids": texts}, is_billable=False)["task_ids"]) == MAX_IDS


def test_only_the_first_unknown_names_are_compared_with_a_missing_one() -> None:
    far = {f"name_{number}": 0 for number in range(1000)}
    with pytest.raises(InvalidRequest) as near:
        read_arguments(TASKS, {"taskids": [], **far})
    with pytest.raises(InvalidRequest) as behind:
        read_arguments(TASKS, {**far, "taskids": []})
    assert "taskids" in str(near.value)
    assert "taskids" not in str(behind.value)
