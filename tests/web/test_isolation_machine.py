"""Isolation of teams and members in random histories over HTTP.

Both teams put in one credential of the backend, which answers for any task: nothing but this service keeps them apart.
Each task has a prompt of its own, so that an answer, a metric or a log line that holds another team's is found.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.clock import HandClock, while_time_passes
from tests.support.fleet import Fleet, running_fleet
from tests.support.histories import run_histories
from tests.support.picks import PICKS, picked
from tests.support.service import ERAS, MODERN, SECONDS, Service, envelope
from tests.support.teams import ACTOR
from tests.web.test_subscriptions import listening

TASKS_EXTENSION: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
MEMBERS = [("film", "anna"), ("film", "ben"), ("ads", "carl"), ("ads", "dora")]

callers = st.sampled_from(MEMBERS)
replicas = st.sampled_from([0, 1])
eras = st.sampled_from(ERAS)


@dataclass(frozen=True)
class Made:
    """A task, who made it, and words that are in its prompt alone; if others share it, words that are in no prompt."""

    task_id: str
    team: str
    member: str
    words: str
    prompt: str


class Histories(RuleBasedStateMachine):
    """Two replicas, two teams with two members each."""

    runner: ClassVar[asyncio.Runner]
    folder: ClassVar[Path]
    numbers: ClassVar[Iterator[int]]
    tenants: ClassVar[dict[str, str]]
    """The team of each task, over all histories."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.number = HandClock(), next(self.numbers)
        self.made: list[Made] = []
        self.bought: dict[tuple[tuple[str, str], int], str] = {}
        """The task that a caller bought with the idempotency key of somebody else's task, by the place of that task."""
        self.handles: list[tuple[Made, str]] = []
        self.cursors: list[str] = []
        self.sees_own = {"film": False, "ads": False}
        self.ended = asyncio.Event()
        self.runner.run(self.begin())

    async def begin(self) -> None:
        ready: asyncio.Future[Fleet] = asyncio.get_running_loop().create_future()
        self.living = asyncio.create_task(self.live(ready))
        self.fleet = await ready

    async def live(self, ready: "asyncio.Future[Fleet]") -> None:
        """Keep the fleet up in one task: what is entered in a task has to be left in it."""
        async with AsyncExitStack() as stack:
            url = f"sqlite:///{self.folder}/{self.number}.db"
            fleet = await stack.enter_async_context(running_fleet(self.clock, url))
            for team in ("film", "ads"):
                await fleet.teams.credential(team, "token-shared")
            self.keys = {(team, name): await fleet.teams.member(team, name) for team, name in MEMBERS}
            await fleet.settle()
            ready.set_result(fleet)
            await self.ended.wait()

    def service(self, replica: int) -> Service:
        return (self.fleet.one, self.fleet.other)[replica]

    def may_see(self, caller: tuple[str, str], task: Made) -> bool:
        team, member = caller
        return task.team == team and (not self.sees_own[team] or task.member == member)

    async def asked(
        self, replica: int, caller: tuple[str, str], method: str, params: Mapping[str, Any], era: str = MODERN
    ) -> dict[str, Any]:
        """Send a request and return the response, which may hold what the caller sees or has sent, and nothing else."""
        message, headers = envelope(method, params, era)
        response = await self.service(replica).post(message, token=self.keys[caller], headers=headers)
        sent = json.dumps(params)
        for task in self.made:
            if not self.may_see(caller, task):
                assert task.words not in response.text, (caller, method, task)
                if task.task_id not in sent:
                    assert task.task_id not in response.text, (caller, method, task)
        answer: dict[str, Any] = response.json()
        return answer

    async def tool(
        self, replica: int, caller: tuple[str, str], name: str, arguments: Mapping[str, Any], era: str
    ) -> dict[str, Any]:
        answer = await self.asked(replica, caller, "tools/call", {"name": name, "arguments": arguments}, era)
        found: dict[str, Any] = answer["result"]["structuredContent"]["result"]
        return found

    def task(self, pick: int) -> Made | None:
        return picked(self.made, pick) if self.made else None

    @rule(replica=replicas, caller=callers, era=eras, has_key=st.booleans(), is_handled=st.booleans())
    def generate(self, replica: int, caller: tuple[str, str], era: str, *, has_key: bool, is_handled: bool) -> None:
        words = f"word{self.number}x{len(self.made)}y"
        prompt = f"A fox {words}"
        arguments = {"prompt": prompt} | ({"idempotency_key": f"key-{len(self.made)}"} if has_key else {})
        params: dict[str, Any] = {"name": "luma_generate_video", "arguments": arguments}
        if is_handled and era == MODERN:
            params["_meta"] = {"io.modelcontextprotocol/clientCapabilities": TASKS_EXTENSION}
        result = self.runner.run(self.asked(replica, caller, "tools/call", params, era))["result"]
        if result.get("resultType") == "task":
            listed = self.runner.run(self.tool(replica, caller, "luma_list_tasks", {"limit": 1}, MODERN))
            self.made.append(Made(listed["tasks"][0]["task_id"], *caller, words, prompt))
            self.handles.append((self.made[-1], result["taskId"]))
        elif not result["isError"]:
            self.made.append(Made(result["structuredContent"]["result"]["task_id"], *caller, words, prompt))
        self.tenants.update({task.task_id: task.team for task in self.made})

    @rule(replica=replicas, caller=callers, era=eras, pick=PICKS)
    def use_a_colleagues_or_strangers_key(self, replica: int, caller: tuple[str, str], era: str, pick: int) -> None:
        if (task := self.task(pick)) is None or (task.team, task.member) == caller:
            return
        number = self.made.index(task)
        arguments = {"prompt": task.prompt, "idempotency_key": f"key-{number}"}
        params = {"name": "luma_generate_video", "arguments": arguments}
        result = self.runner.run(self.asked(replica, caller, "tools/call", params, era))["result"]
        if not result["isError"]:
            bought = result["structuredContent"]["result"]["task_id"]
            if (before := self.bought.get((caller, number))) is not None:
                assert bought == before
                return
            assert bought not in {one.task_id for one in self.made}
            self.bought[caller, number] = bought
            self.made.append(Made(bought, *caller, f"none{len(self.made)}", task.prompt))
            self.made[number] = replace(task, words=f"none{number}")

    @rule(replica=replicas, caller=callers, era=eras, detail=st.sampled_from(["brief", "full"]))
    def ask_about_all(self, replica: int, caller: tuple[str, str], era: str, detail: str) -> None:
        if not self.made:
            return
        ids = [task.task_id for task in self.made]
        answer = self.runner.run(
            self.tool(replica, caller, "luma_get_tasks_batch", {"task_ids": ids, "detail": detail}, era)
        )
        seen = {task.task_id for task in self.made if self.may_see(caller, task)}
        assert {task["task_id"] for task in answer["tasks"]} == seen
        assert set(answer["missing"]) == set(ids) - seen

    @rule(replica=replicas, caller=callers, era=eras, pick=PICKS)
    def ask_about_one(self, replica: int, caller: tuple[str, str], era: str, pick: int) -> None:
        if (task := self.task(pick)) is None:
            return
        answer = self.runner.run(self.tool(replica, caller, "luma_get_task", {"task_id": task.task_id}, era))
        assert ("error" not in answer or answer["error"]["code"] != "not_found") == self.may_see(caller, task)

    @rule(replica=replicas, caller=callers, era=eras, pick=PICKS)
    def read_a_resource(self, replica: int, caller: tuple[str, str], era: str, pick: int) -> None:
        if (task := self.task(pick)) is None:
            return
        uri = {"uri": f"luma://tasks/{task.task_id}"}
        answer = self.runner.run(self.asked(replica, caller, "resources/read", uri, era))
        assert ("result" in answer) == self.may_see(caller, task)

    @rule(replica=replicas, caller=callers, era=eras, member=st.sampled_from(["", "anna", "carl"]))
    def list_tasks(self, replica: int, caller: tuple[str, str], era: str, member: str) -> None:
        answer = self.runner.run(self.tool(replica, caller, "luma_list_tasks", {"member": member, "limit": 2}, era))
        for one in answer["tasks"]:
            assert all(self.may_see(caller, task) for task in self.made if task.task_id == one.get("task_id"))
        if answer["next_cursor"]:
            self.cursors.append(answer["next_cursor"])

    @rule(replica=replicas, caller=callers, pick=PICKS)
    def go_on_with_any_cursor(self, replica: int, caller: tuple[str, str], pick: int) -> None:
        if self.cursors:
            cursor = picked(self.cursors, pick)
            self.runner.run(self.tool(replica, caller, "luma_list_tasks", {"cursor": cursor}, MODERN))

    @rule(replica=replicas, caller=callers, prefix=st.sampled_from(["", "0", "7", "a", "f"]))
    def complete_an_id(self, replica: int, caller: tuple[str, str], prefix: str) -> None:
        ref = {"type": "ref/resource", "uri": "luma://tasks/{task_id}"}
        params = {"ref": ref, "argument": {"name": "task_id", "value": prefix}}
        answer = self.runner.run(self.asked(replica, caller, "completion/complete", params))
        assert "result" in answer

    @rule(replica=replicas, caller=callers, pick=PICKS, method=st.sampled_from(["tasks/get", "tasks/cancel"]))
    def use_any_handle(self, replica: int, caller: tuple[str, str], pick: int, method: str) -> None:
        if not self.handles:
            return
        task, handle = picked(self.handles, pick)
        params = {"taskId": handle, "_meta": {"io.modelcontextprotocol/clientCapabilities": TASKS_EXTENSION}}
        answer = self.runner.run(self.asked(replica, caller, method, params))
        if task.team != caller[0]:
            assert "error" in answer

    @rule(replica=replicas, caller=callers, pick=PICKS, by=st.sampled_from(["video_id", "video_url"]))
    def extend_any_video(self, replica: int, caller: tuple[str, str], pick: int, by: str) -> None:
        if (task := self.task(pick)) is None:
            return
        whose = (task.team, task.member)
        known = self.runner.run(self.tool(0, whose, "luma_get_task", {"task_id": task.task_id}, MODERN))
        if by not in known:
            return
        name = "luma_extend_video" if by == "video_id" else "luma_extend_video_from_url"
        params = {"name": name, "arguments": {"prompt": "On", by: known[by]}}
        result = self.runner.run(self.asked(replica, caller, "tools/call", params))["result"]
        if result["isError"]:
            assert not self.may_see(caller, task) or whose != caller
        else:
            assert self.may_see(caller, task)
            made = result["structuredContent"]["result"]["task_id"]
            self.made.append(Made(made, *caller, f"none{len(self.made)}", "On"))

    @rule(replica=replicas, caller=callers)
    def listen_to_all_tasks(self, replica: int, caller: tuple[str, str]) -> None:
        """Listen to every task and handle there is, until a task of the caller's own, the newest, has ended."""
        self.generate(replica, caller, MODERN, has_key=False, is_handled=False)
        own, service = self.made[-1], self.service(replica)
        wanted = {
            "resourceSubscriptions": [f"luma://tasks/{task.task_id}" for task in self.made],
            "taskIds": [handle for _task, handle in self.handles],
        }

        async def heard() -> list[dict[str, Any]]:
            async with listening(service.url, service.http, wanted, token=self.keys[caller]) as events:
                await events.next_message()  # it repeats what was asked for
                messages = [await while_time_passes(self.clock, events.next_message())]
                while messages[-1]["params"].get("uri") != f"luma://tasks/{own.task_id}":
                    messages.append(await while_time_passes(self.clock, events.next_message()))
                return messages

        told = json.dumps(self.runner.run(heard()))
        for task in self.made:
            if not self.may_see(caller, task):
                assert task.task_id not in told
                assert task.words not in told
        for task, handle in self.handles:
            if task.team != caller[0]:
                assert handle not in told

    @rule(replica=replicas, caller=callers, era=eras)
    def buy_while_narrowed(self, replica: int, caller: tuple[str, str], era: str) -> None:
        """Try to buy where a header takes the paid tools away. The rule for usage finds what is bought nevertheless."""
        call = {"name": "luma_generate_video", "arguments": {"prompt": "A fox that nobody ordered"}}
        message, headers = envelope("tools/call", call, era)
        narrowed = {**headers, "X-MCP-Readonly": "true"}
        response = self.runner.run(self.service(replica).post(message, token=self.keys[caller], headers=narrowed))
        assert "error" in response.json() or response.json()["result"]["isError"]

    @rule(replica=replicas, caller=callers)
    def look_at_the_usage(self, replica: int, caller: tuple[str, str]) -> None:
        usage = self.runner.run(self.tool(replica, caller, "luma_get_usage", {}, MODERN))
        of_team = [task for task in self.made if task.team == caller[0]]
        assert usage["team"]["generations"] <= len(of_team)

    @rule(caller=callers, is_own=st.booleans())
    def narrow_what_members_see(self, caller: tuple[str, str], *, is_own: bool) -> None:
        team = caller[0]

        async def change() -> None:
            await self.fleet.teams.directory.teams.change(team, ACTOR, members_see_all=not is_own)
            await self.fleet.settle()

        self.runner.run(change())
        self.sees_own[team] = is_own

    @rule(caller=callers)
    def rotate_a_key(self, caller: tuple[str, str]) -> None:
        async def rotate() -> None:
            old = await self.fleet.teams.id_of(self.keys[caller])
            key, new = await self.fleet.teams.new_key()
            await self.fleet.teams.directory.keys.rotate(old, new, 0.0, ACTOR)
            await self.fleet.settle()
            self.keys[caller] = key

        self.runner.run(rotate())

    @rule(seconds=st.sampled_from([1.0, SECONDS]))
    def wait(self, seconds: float) -> None:
        async def passing() -> None:
            self.clock.advance(seconds)
            await self.fleet.settle()

        self.runner.run(passing())

    @invariant()
    def metrics_name_nobody(self) -> None:
        for service in (self.fleet.one, self.fleet.other):
            shown = service.assembly.metrics.exposition().decode()
            for task in self.made:
                assert task.task_id not in shown
                assert task.words not in shown
            assert not any(name in shown for name in ("film", "anna", "carl"))

    def teardown(self) -> None:
        async def end() -> None:
            self.ended.set()
            await self.living

        self.runner.run(end())


def test_no_team_ever_sees_another_in_random_histories(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with asyncio.Runner() as runner:
        Histories.runner, Histories.folder, Histories.tenants = runner, tmp_path, {}
        Histories.numbers = iter(range(1_000_000))
        run_histories(Histories, 25, steps=20)
    logged = capfd.readouterr().err
    assert logged
    assert "A fox" not in logged
    assert "https://cdn.example.com" not in logged
    assert "lmk_" not in logged
    teams: dict[str, str] = {}
    for line in map(json.loads, filter(lambda line: line.startswith("{"), logged.splitlines())):
        if "tenant" in line and (team := Histories.tenants.get(line.get("task_id", ""))):
            assert teams.setdefault(line["tenant"], team) == team
