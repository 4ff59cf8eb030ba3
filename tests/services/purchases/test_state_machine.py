"""Stateful test of PurchaseService: two replicas that share a database, random failures, crashes and key rotations.

A key must buy once, and each result must be true. Hypothesis generates the histories and shrinks failing ones.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.adapters.acedata.policy import ACEDATACLOUD
from app.adapters.memory.coordination import MemoryCoordination
from app.adapters.sql.engine import Database
from app.adapters.value_signer import HmacSigner
from app.domain.errors import BackendError, LumaError, OutcomeUnknown
from app.domain.purchase import SENDING_SECONDS
from app.services.purchases.idempotency import PurchaseService
from app.services.purchases.legacy_keys import LegacyIdempotencyKeys
from app.services.purchases.request import PurchaseRequest, PurchaseResult, fingerprint
from app.services.purchases.unaccepted_rows import UnacceptedPurchases
from tests.support.clock import HandClock, while_time_passes
from tests.support.databases import purchases_at
from tests.support.faulty_purchases import Crashed, FaultyPurchases
from tests.support.histories import run_histories
from tests.support.picks import PICKS, picked
from tests.support.turns import database_turns

DAY = 86_400.0
OWNERS = itertools.count()
ROTATION = [("old",), ("old", "new"), ("new", "old")]
"""Secret keys of a replica during a rotation. The first one creates hashes; all of them are recognised."""

T = TypeVar("T")

Fate = str
"""Fate of a submission: "taken", "refused", "answer lost", "request lost" or "broken" (an unexpected exception)."""

FATES = st.sampled_from(["taken", "refused", "answer lost", "request lost", "broken"])
FAULTS = st.lists(st.sampled_from([None, None, "before", "after", "crash before", "crash after"]), max_size=4)


@dataclass
class Video:
    """A video that the backend generated for a submission."""

    task_id: str
    made_at: float
    prompt: str
    callback_id: str


@dataclass
class Backend:
    """The backend, with all generated videos by idempotency key."""

    videos: dict[str, list[Video]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def make(self, key: str, prompt: str, callback_id: str, now: float) -> str:
        task_id = f"task-{next(self.numbers)}"
        self.videos.setdefault(key, []).append(Video(task_id, now, prompt, callback_id))
        return task_id


async def inline(purchase: Awaitable[Any]) -> Any:
    return await purchase


async def result_of(call: Awaitable[T]) -> T | BaseException:
    """Return the result or the exception of a call. After a crash, the caller would get neither."""
    try:
        return await call
    except (LumaError, Crashed, RuntimeError) as exc:
        return exc


class Histories(RuleBasedStateMachine):
    """Two replicas with one database. All runs share the database, and each run uses an owner of its own."""

    runner: ClassVar[asyncio.Runner]
    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.owner = f"owner-{next(OWNERS)}"
        self.backend = Backend()
        self.callbacks = itertools.count()
        self.arrived: set[str] = set()
        self.purchases = purchases_at(self.database, self.clock)
        self.secrets = [ROTATION[0], ROTATION[0]]
        self.databases = [FaultyPurchases(self.purchases), FaultyPurchases(self.purchases)]
        self.clock.hold_while(lambda: any(database.running for database in self.databases))
        self.replicas = [self.new_replica(number) for number in (0, 1)]

    def new_replica(self, number: int) -> PurchaseService:
        legacy_keys = LegacyIdempotencyKeys(MemoryCoordination(self.clock), lambda: 0.0, self.clock)
        return PurchaseService(
            self.databases[number],
            HmacSigner(*self.secrets[number]),
            legacy_keys,
            turns=database_turns(),
            key_lives_seconds=DAY,
            key_fault=lambda: None,
            unaccepted=UnacceptedPurchases(self.clock, lambda _owner: True),
            backend=ACEDATACLOUD,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    async def passing(self, waiting: Awaitable[T]) -> T:
        """Await something while time passes, but not during an operation on the database."""
        return await while_time_passes(self.clock, waiting)

    def restart(self, number: int) -> None:
        self.databases[number] = FaultyPurchases(self.purchases)
        self.replicas[number] = self.new_replica(number)

    def request(self, replica: int, key: str, prompt: str, *, retry_unknown: bool) -> PurchaseRequest:
        owners = tuple(f"{self.owner} under {secret}" for secret in self.secrets[replica])
        return PurchaseRequest(owners, "generate", fingerprint("tool", {"p": prompt}), key, retry_unknown)

    async def one_call(self, replica: int, key: str, prompt: str, fate: Fate, *, retry_unknown: bool) -> None:
        callback_id = f"{self.owner}-{next(self.callbacks)}"
        sent: list[str] = []

        async def send() -> str:
            made = self.backend.videos.get(key, [])
            recent = [video for video in made if self.clock() - video.made_at < DAY - SENDING_SECONDS]
            assert retry_unknown or not recent, "a key bought again without retry_unknown"
            if fate in ("refused", "request lost"):
                raise ACEDATACLOUD.error(BackendError if fate == "refused" else OutcomeUnknown)
            sent.append(self.backend.make(key, prompt, callback_id, self.clock()))
            if fate == "broken":
                raise RuntimeError
            if fate == "answer lost":
                raise ACEDATACLOUD.error(OutcomeUnknown)
            return sent[0]

        async def reconcile(earlier: str) -> str | None:
            found = [v.task_id for v in self.backend.videos.get(key, []) if v.callback_id == earlier]
            return found[0] if found and earlier in self.arrived else None

        wanted = self.request(replica, key, prompt, retry_unknown=retry_unknown)
        result = await result_of(self.replicas[replica].buy(wanted, callback_id, send, reconcile, inline))
        if isinstance(result, PurchaseResult):
            known = {(video.task_id, video.prompt) for video in self.backend.videos.get(key, [])}
            assert (result.task_id, prompt) in known, (
                "the result is a task that was not generated for this key and prompt"
            )
            assert result.replayed or sent
        elif isinstance(result, LumaError) and not isinstance(result, OutcomeUnknown):
            assert not sent, f"a video was generated, and the caller got: {result}"

    @rule(
        replica=st.sampled_from([0, 1]),
        key=st.sampled_from(["a", "a", "a", "b"]),
        prompt=st.sampled_from(["x", "x", "x", "x", "y"]),
        fate=FATES,
        retry_unknown=st.booleans(),
        faults=FAULTS,
    )
    def buy(  # noqa: PLR0913 - Hypothesis draws each argument
        self, replica: int, key: str, prompt: str, fate: Fate, *, retry_unknown: bool, faults: list[Any]
    ) -> None:
        self.databases[replica].faults = list(faults)
        call = self.one_call(replica, key, prompt, fate, retry_unknown=retry_unknown)
        self.runner.run(self.passing(call))
        self.databases[replica].faults = []

    @rule(key=st.sampled_from(["a", "b"]), fates=st.tuples(FATES, FATES), retry_unknown=st.booleans())
    def buy_at_once(self, key: str, fates: tuple[Fate, Fate], *, retry_unknown: bool) -> None:
        async def both() -> None:
            calls = (
                self.one_call(replica, key, "x", fates[replica], retry_unknown=retry_unknown) for replica in (0, 1)
            )
            await self.passing(asyncio.gather(*calls))

        self.runner.run(both())

    @rule(seconds=st.sampled_from([1.0, SENDING_SECONDS + 1, DAY + 1]))
    def wait(self, seconds: float) -> None:
        async def passing() -> None:
            self.clock.advance(seconds)
            await self.passing(self.clock.sleep(2))

        self.runner.run(passing())

    @rule(replica=st.sampled_from([0, 1]), is_out=st.booleans())
    def set_database_outage(self, replica: int, *, is_out: bool) -> None:
        self.databases[replica].is_out = is_out

    @rule(replica=st.sampled_from([0, 1]))
    def kill(self, replica: int) -> None:
        self.databases[replica].is_dead = True
        self.restart(replica)

    @rule(replica=st.sampled_from([0, 1]), secrets=st.sampled_from(ROTATION))
    def rotate_the_secret_keys(self, replica: int, secrets: tuple[str, ...]) -> None:
        self.secrets[replica] = secrets
        self.kill(replica)

    @rule(pick=PICKS)
    def call_back(self, pick: int) -> None:
        waiting = [v.callback_id for made in self.backend.videos.values() for v in made]
        if waiting:
            self.arrived.add(picked(waiting, pick))

    @invariant()
    def dead_replicas_are_restarted(self) -> None:
        for number, purchases in enumerate(self.databases):
            if purchases.is_dead:  # a replica may die after its call, while it writes a queued outcome
                self.restart(number)

    def teardown(self) -> None:
        self.dead_replicas_are_restarted()
        for purchases in self.databases:
            purchases.is_out = False

        async def ending() -> None:
            for replica in self.replicas:
                await self.passing(result_of(replica.aclose()))

        self.runner.run(ending())


def test_a_key_buys_once_in_random_histories(runner: asyncio.Runner, database: Database) -> None:
    Histories.runner, Histories.database = runner, database
    run_histories(Histories, 200, steps=15)
