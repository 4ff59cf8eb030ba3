"""The sandbox without HTTP: the records that it returns, its charges, and the limits of its memory."""

from dataclasses import dataclass
from typing import Any

import pytest

from app.adapters.sandbox.behaviour import Behaviour, PendingForm
from app.adapters.sandbox.engine import ACCOUNTS_KEPT, MAX_READS_BYTES, Sandbox
from app.adapters.sandbox.faults import Refused
from app.adapters.sandbox.tasks import PROMPT_WORDS

SECONDS = 120.0
TOKEN = "a-token"
UNLIMITED = Behaviour(max_in_flight=None, reads_per_second=None)


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """A sandbox, its clock, and helpers for the most frequent calls."""

    sandbox: Sandbox
    clock: Clock

    def submit(self, **body: Any) -> str:
        return self.sandbox.submit(TOKEN, {"prompt": "a lighthouse", "async": True, **body})[1].task_id

    def task(self, task_id: str) -> Any:
        return self.sandbox.read(TOKEN, {"action": "retrieve", "id": task_id})

    def batch(self, *ids: str, **body: Any) -> Any:
        return self.sandbox.read(TOKEN, {"action": "retrieve_batch", "ids": list(ids), **body})


def build(behaviour: Behaviour = UNLIMITED, **rest: Any) -> Bench:
    clock = Clock()
    return Bench(Sandbox(seconds=SECONDS, media_url="http://media", clock=clock, behaviour=behaviour, **rest), clock)


def test_a_finished_record_has_the_documented_keys_and_times() -> None:
    bench = build()
    body = {"prompt": "a lighthouse", "callback_url": "https://example.com/hook", "async": True, "loop": None}
    task_id = bench.submit(**body)
    bench.clock.now += SECONDS
    record = bench.task(task_id)
    assert set(record) == {
        "_id", "id", "api_id", "application_id", "created_at", "started_at", "finished_at", "elapsed",
        "credential_id", "request", "trace_id", "user_id", "response",
    }  # fmt: skip
    assert record["request"] == body
    assert len(record["_id"]) == 24
    times = [record[key] for key in ("created_at", "started_at", "finished_at", "elapsed")]
    assert times == [1_700_000_000.0, 1_700_000_000.06, 1_700_000_120.0, 119.94]
    assert record["response"]["state"] == "completed"


def test_a_generation_that_takes_no_time_is_done_at_once() -> None:
    sandbox = Sandbox(seconds=0, media_url="", clock=lambda: 1_700_000_000.0016)
    record = sandbox.read(TOKEN, {"id": sandbox.submit(TOKEN, {"prompt": "x", "async": True})[1].task_id})
    times = [record[key] for key in ("created_at", "started_at", "finished_at", "elapsed")]
    assert times == [1_700_000_000.001, 1_700_000_000.001, 1_700_000_000.001, 0.0]


def test_a_record_has_no_times_in_the_future() -> None:
    bench = build()
    task_id = bench.submit()
    assert not {"started_at", "finished_at", "elapsed", "response"} & set(bench.task(task_id))
    bench.clock.now += SECONDS - 0.001
    assert "started_at" in bench.task(task_id)
    assert not {"finished_at", "elapsed", "response"} & set(bench.task(task_id))


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        (PendingForm.MISSING, {}),
        (PendingForm.NULL, {"response": None, "finished_at": None}),
        (PendingForm.EMPTY, {"response": {}}),
        (PendingForm.STATE_PENDING, {"response": {"state": "pending"}}),
        (PendingForm.STATE_PROCESSING, {"response": {"state": "processing"}}),
        (PendingForm.SUCCESS_WITHOUT_URL, {"response": {"success": True, "task_id": "<id>"}}),
    ],
)
def test_a_running_record_has_the_configured_form(form: PendingForm, shown: dict[str, Any]) -> None:
    bench = build(Behaviour(pending=form))
    task_id = bench.submit()
    record = bench.task(task_id)
    response = record.get("response")
    if response and "task_id" in response:
        response["task_id"] = response["task_id"].replace(task_id, "<id>")
    assert {key: record[key] for key in ("response", "finished_at") if key in record} == shown


@pytest.mark.parametrize(("word", "code"), [("[fail]", "api_error"), ("a [Moderated] cat", "forbidden")])
def test_a_failed_generation_shows_its_error_once_it_has_ended(word: str, code: str) -> None:
    bench = build()
    task_id = bench.submit(prompt=word)
    assert "response" not in bench.task(task_id)
    bench.clock.now += SECONDS
    record = bench.task(task_id)
    assert record["finished_at"] == 1_700_000_120.0
    assert record["response"].pop("error")["code"] == code
    assert record["response"] == {"success": False, "task_id": task_id, "trace_id": record["trace_id"]}


def test_an_unknown_id_or_none_is_answered_with_an_empty_object() -> None:
    bench = build()
    assert bench.task("unknown") == {}
    assert bench.sandbox.read(TOKEN, {"action": "retrieve"}) == {}
    assert bench.sandbox.read(TOKEN, {}) == {}


def test_an_unknown_action_is_a_bad_request() -> None:
    with pytest.raises(Refused) as caught:
        build().sandbox.read(TOKEN, {"action": "generate", "id": "x"})
    assert caught.value.fault.code == "bad_request"


def test_a_new_task_is_hidden_for_the_configured_time() -> None:
    bench = build(Behaviour(hidden_seconds=2.0))
    task_id = bench.submit()
    bench.clock.now += 1.5
    assert bench.task(task_id) == {}
    assert bench.batch(task_id)["items"] == []
    bench.clock.now += 0.5
    assert bench.task(task_id)["id"] == task_id


def test_any_token_may_read_any_task() -> None:
    bench = build()
    task_id = bench.submit()
    assert bench.sandbox.read("another", {"id": task_id})["id"] == task_id


def test_a_batch_omits_unknown_ids_and_duplicates() -> None:
    bench = build()
    first, second = bench.submit(), bench.submit()
    batch = bench.batch(first, "unknown", second, first)
    assert [item["id"] for item in batch["items"]] == [second, first]
    assert batch["count"] == 2


def test_a_batch_has_the_order_of_submission_if_configured() -> None:
    bench = build(Behaviour(newest_first=False))
    first, second = bench.submit(), bench.submit()
    assert [item["id"] for item in bench.batch(second, first)["items"]] == [first, second]


def test_a_batch_is_cut_at_twelve_and_counts_all() -> None:
    bench = build()
    ids = [bench.submit() for _ in range(14)]
    batch = bench.batch(*ids)
    assert (len(batch["items"]), batch["count"]) == (12, 14)
    rest = bench.batch(*ids, offset=12, limit=14)
    assert [item["id"] for item in rest["items"]] == [ids[1], ids[0]]


@pytest.mark.parametrize(("honoured", "shown"), [(True, 3), (False, 2)])
def test_the_limit_of_a_batch_is_used_if_configured(*, honoured: bool, shown: int) -> None:
    bench = build(Behaviour(batch_limit=2, honours_limit=honoured))
    ids = [bench.submit() for _ in range(3)]
    assert len(bench.batch(*ids, limit=3)["items"]) == shown


@pytest.mark.parametrize("ids", [None, "abc", [], [7, None, ["x"]]])
def test_a_batch_without_ids_is_empty(ids: Any) -> None:
    assert build().sandbox.read(TOKEN, {"action": "retrieve_batch", "ids": ids}) == {"items": [], "count": 0}


def test_only_a_finished_success_is_charged() -> None:
    bench = build()
    for prompt in ("one", "two", "[fail]", "[moderated]"):
        bench.submit(prompt=prompt)
    assert bench.sandbox.credits(TOKEN) == 0
    bench.clock.now += SECONDS
    assert bench.sandbox.credits(TOKEN) == 2.38
    assert bench.sandbox.credits("another") == 0


def test_what_reached_the_sandbox_can_be_counted() -> None:
    bench = build()
    task_id = bench.submit()
    with pytest.raises(Refused):
        bench.submit(prompt="[refuse]")
    bench.task(task_id)
    bench.batch("a", "b")
    assert bench.sandbox.submissions(TOKEN) == 2
    assert bench.sandbox.submissions("another") == 0
    assert bench.sandbox.reads == 2
    assert list(bench.sandbox.read_ids) == [(task_id,), ("a", "b")]


def test_the_oldest_record_is_dropped_if_there_are_too_many() -> None:
    bench = build(records_kept=2)
    oldest, *kept = [bench.submit() for _ in range(3)]
    bench.clock.now += SECONDS
    assert bench.batch(oldest, *kept)["count"] == 2
    assert bench.task(oldest) == {}
    with pytest.raises(Refused, match="extend"):
        bench.submit(action="extend", video_url=f"http://media/{oldest}.mp4")


def test_records_are_bounded_in_memory_and_not_only_in_number() -> None:
    bench = build(records_bytes=100_000)
    first = bench.submit()
    long_ones = [bench.submit(prompt="x" * 10_000, later={"more": "y" * 10_000}) for _ in range(50)]
    assert bench.task(first) == {}
    assert bench.batch(*long_ones)["count"] == 2
    short_ones = [bench.submit() for _ in range(60)]
    assert bench.batch(*short_ones)["count"] == 60, "what is forgotten makes room again"


def test_the_recorded_ids_of_reads_are_bounded_in_memory() -> None:
    bench = build()
    ids = tuple("x" * 1_000 for _ in range(1_000))
    for _ in range(50):
        bench.batch(*ids)
    assert sum(len(text) for read in bench.sandbox.read_ids for text in read) <= MAX_READS_BYTES
    bench.task("the latest")
    assert bench.sandbox.read_ids[-1] == ("the latest",)


def test_accounts_keep_no_token_and_nothing_of_generations_that_have_ended() -> None:
    bench = build()
    for _ in range(20):
        bench.submit()
        bench.clock.now += SECONDS
    ((key, account),) = bench.sandbox._accounts.items()  # noqa: SLF001 - the claim is about memory
    assert TOKEN.encode() not in key
    assert len(account._running) <= 1  # noqa: SLF001 - as above
    assert bench.sandbox.credits(TOKEN) == pytest.approx(20 * 1.19)


def test_the_oldest_account_is_dropped_if_there_are_too_many() -> None:
    bench = build()
    bench.submit()
    for number in range(ACCOUNTS_KEPT):
        bench.sandbox.submissions(f"token-{number}")
    assert bench.sandbox.submissions(TOKEN) == 0


def test_every_prompt_word_is_explained() -> None:
    assert set(PROMPT_WORDS) == {"[fail]", "[moderated]", "[refuse]", "[broke]"}
    assert all(sentence.endswith(".") for sentence in PROMPT_WORDS.values())
