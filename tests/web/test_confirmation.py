"""Generations above a team's price are confirmed: by elicitation where the client can ask, else by `confirm`."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitRequestParams, ElicitResult

from app.mcp_server.tools.confirmation import QUESTION_SECONDS
from tests.support.clock import HandClock
from tests.support.fleet import Fleet, running_fleet
from tests.support.service import ERAS, LEGACY, MODERN, Service, envelope
from tests.support.teams import ACTOR

TOOL = "luma_generate_video"
FOX = {"prompt": "A fox"}
AGREED = {"action": "accept", "content": {"confirm": True}}
CAN_ASK: dict[str, Any] = {"elicitation": {}}


@pytest.fixture
async def fleet(clock: HandClock, database_url: str) -> AsyncIterator[Fleet]:
    async with running_fleet(clock, database_url) as fleet:
        await fleet.teams.directory.teams.change("film", ACTOR, asks_above=1_000_000)
        await fleet.settle()
        yield fleet


async def called(  # noqa: PLR0913, PLR0917 - a call in one round of several
    service: Service,
    key: str,
    arguments: Mapping[str, Any] = FOX,
    response: Any = None,
    state: str | None = None,
    can: Mapping[str, Any] = CAN_ASK,
) -> dict[str, Any]:
    """Call the tool as a client that takes questions, with the response to one."""
    params: dict[str, Any] = {"name": TOOL, "arguments": arguments}
    params["_meta"] = {"io.modelcontextprotocol/clientCapabilities": can}
    if state is not None:
        params |= {"inputResponses": {"confirm": response}, "requestState": state}
    message, headers = envelope("tools/call", params, MODERN)
    answer: dict[str, Any] = (await service.post(message, token=key, headers=headers)).json()
    result: dict[str, Any] = answer["result"]
    return result


async def submissions(fleet: Fleet, key: str) -> int:
    return len((await fleet.one.ask("luma_list_tasks", {}, token=key))["tasks"])


async def test_a_client_with_elicitation_gets_a_question_and_any_replica_takes_the_response(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    asked = await called(fleet.one, anna)
    assert asked["resultType"] == "input_required"
    question = asked["inputRequests"]["confirm"]
    assert question["method"] == "elicitation/create"
    assert "1.19 credits" in question["params"]["message"]
    assert question["params"]["requestedSchema"]["required"] == ["confirm"]
    assert await submissions(fleet, anna) == 0
    started = await called(fleet.other, anna, response=AGREED, state=asked["requestState"])
    assert started["structuredContent"]["result"]["state"] == "pending"
    assert await submissions(fleet, anna) == 1


async def test_a_response_that_is_repeated_buys_once(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    state = (await called(fleet.one, anna))["requestState"]
    first = await called(fleet.one, anna, response=AGREED, state=state)
    again = await called(fleet.other, anna, response=AGREED, state=state)
    task_ids = [one["structuredContent"]["result"]["task_id"] for one in (first, again)]
    assert task_ids[0] == task_ids[1]
    assert await submissions(fleet, anna) == 1


@pytest.mark.parametrize(
    "response",
    [
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept", "content": {"confirm": False}},
        {"action": "accept", "content": {"confirm": "true"}},
        {"action": "accept", "content": None},
        {"action": "accept"},
        {"action": "decline", "content": {"confirm": True}},
        {"action": "accept", "content": {}},
    ],
    ids=str,
)
async def test_any_response_but_agreement_buys_nothing(fleet: Fleet, response: Any) -> None:
    anna = await fleet.teams.member("film", "anna")
    state = (await called(fleet.one, anna))["requestState"]
    declined = await called(fleet.one, anna, response=response, state=state)
    assert declined["structuredContent"]["result"]["error"]["code"] == "forbidden"
    assert await submissions(fleet, anna) == 0


async def test_the_state_of_a_question_is_bound_to_its_caller_arguments_key_and_ten_minutes(fleet: Fleet) -> None:
    anna, ben = await fleet.teams.member("film", "anna"), await fleet.teams.member("film", "ben")
    state = (await called(fleet.one, anna))["requestState"]
    for asked in (
        await called(fleet.one, ben, response=AGREED, state=state),
        await called(fleet.one, anna, {"prompt": "A wolf"}, response=AGREED, state=state),
        await called(fleet.one, anna, {**FOX, "idempotency_key": "other"}, response=AGREED, state=state),
        await called(fleet.one, anna, response=AGREED, state=state[:-2] + "AA"),
        await called(fleet.one, anna, response=AGREED, state=""),
    ):
        assert asked["resultType"] == "input_required"
    fleet.clock.advance(QUESTION_SECONDS + 1)
    await fleet.settle()
    assert (await called(fleet.one, anna, response=AGREED, state=state))["resultType"] == "input_required"
    assert await submissions(fleet, anna) == 0


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_without_elicitation_is_told_of_the_argument_confirm(fleet: Fleet, era: str) -> None:
    anna = await fleet.teams.member("film", "anna")
    refused = await fleet.one.fail(TOOL, FOX, token=anna, era=era)
    assert refused["code"] == "forbidden"
    assert "confirm: true" in refused["message"]
    await fleet.one.ask(TOOL, {**FOX, "confirm": True}, token=anna, era=era)
    assert await submissions(fleet, anna) == 1


async def test_the_argument_confirm_does_not_count_for_a_client_with_elicitation(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    assert (await called(fleet.one, anna, {**FOX, "confirm": True}))["resultType"] == "input_required"
    url_alone: dict[str, Any] = {"elicitation": {"url": {}}}
    assert "structuredContent" in await called(fleet.one, anna, {**FOX, "confirm": True}, can=url_alone)


async def test_prices_up_to_the_threshold_and_teams_without_one_need_no_confirmation(fleet: Fleet) -> None:
    carl = await fleet.teams.member("ads", "carl")
    for key in (carl, "token-film"):
        for era in (MODERN, LEGACY[-1]):
            await fleet.one.ask(TOOL, FOX, token=key, era=era)
    anna = await fleet.teams.member("film", "anna")
    await fleet.teams.directory.teams.change("film", ACTOR, asks_above=1_190_000)
    await fleet.settle()
    await fleet.one.ask(TOOL, FOX, token=anna)  # as much as the limit is not above it
    await fleet.teams.directory.teams.change("film", ACTOR, asks_above=0)
    await fleet.settle()
    await fleet.one.fail(TOOL, FOX, token=anna)
    await fleet.teams.directory.teams.change("film", ACTOR, asks_above="never")
    await fleet.settle()
    await fleet.one.ask(TOOL, FOX, token=anna)


@pytest.mark.parametrize("action", ["accept", "decline"])
async def test_the_python_client_asks_its_user(fleet: Fleet, action: Literal["accept", "decline"]) -> None:
    anna = await fleet.teams.member("film", "anna")
    asked: list[str] = []

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        del context
        asked.append(params.message)
        return ElicitResult(action=action, content={"confirm": True} if action == "accept" else None)

    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {anna}"}) as http,
        Client(
            streamable_http_client(f"{fleet.one.url}/mcp", http_client=http), mode=MODERN, elicitation_callback=answer
        ) as client,
    ):
        result = await client.call_tool(TOOL, FOX)
    assert len(asked) == 1
    assert result.is_error is (action == "decline")
    assert await submissions(fleet, anna) == (action == "accept")


async def test_a_confirmed_call_keeps_its_own_key(fleet: Fleet) -> None:
    anna = await fleet.teams.member("film", "anna")
    keyed = {**FOX, "idempotency_key": "fox"}
    for _ in range(2):
        state = (await called(fleet.one, anna, keyed))["requestState"]
        await called(fleet.one, anna, keyed, response=AGREED, state=state)
    assert await submissions(fleet, anna) == 1
