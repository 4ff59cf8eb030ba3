"""ConcurrencyLimiter: one bounded queue per owner, fairness within a team, and choice of credentials."""

import asyncio

import pytest

from app.adapters.acedata.policy import ACEDATACLOUD, GENERATIONS_AT_ONCE
from app.domain.access import Credential, Principal
from app.domain.errors import RateLimited
from app.services.purchases.limiter import MAX_WAIT_SECONDS, MAX_WAITING, ConcurrencyLimiter
from tests.support.clock import HandClock, while_time_passes

A, B = Principal("a"), Principal("b")
ANN, BOB = Principal("ann", "team"), Principal("bob", "team")


def credentials(*ids: str) -> list[Credential]:
    return [Credential(name, f"secret of {name}") for name in ids]


class Backend:
    """Lists the credential of each submission, and answers when the test allows it."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.began: list[str] = []

    async def send(self, credential: Credential) -> str:
        self.began.append(credential.id)
        await self.may_answer.wait()
        return "task-0"


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_each_token_has_its_own_bounded_queue(clock: HandClock) -> None:
    limiter, backend = ConcurrencyLimiter(ACEDATACLOUD, clock, clock.sleep), Backend()
    count = GENERATIONS_AT_ONCE + MAX_WAITING
    calls = [asyncio.create_task(limiter.run(A, credentials("a"), backend.send)) for _ in range(count)]
    await turns()
    with pytest.raises(RateLimited, match="Nothing was sent"):
        await limiter.run(A, credentials("a"), backend.send)
    other = asyncio.create_task(limiter.run(B, credentials("b"), backend.send))
    backend.may_answer.set()
    assert set(await asyncio.gather(*calls, other)) == {"task-0"}
    assert await limiter.run(A, credentials("a"), backend.send) == "task-0"


async def test_each_submission_uses_the_credential_with_the_fewest_in_flight(clock: HandClock) -> None:
    limiter, backend = ConcurrencyLimiter(ACEDATACLOUD, clock, clock.sleep), Backend()
    most = 2 * GENERATIONS_AT_ONCE
    calls = [asyncio.create_task(limiter.run(ANN, credentials("x", "y"), backend.send)) for _ in range(most + 3)]
    await turns()
    assert sorted(backend.began) == ["x"] * GENERATIONS_AT_ONCE + ["y"] * GENERATIONS_AT_ONCE
    assert backend.began[:4] == ["x", "y", "x", "y"]
    backend.may_answer.set()
    await asyncio.gather(*calls)


async def test_members_of_a_team_are_served_round_robin(clock: HandClock) -> None:
    limiter, order = ConcurrencyLimiter(ACEDATACLOUD, clock, clock.sleep), []
    may_answer = asyncio.Event()

    async def buy(member: Principal) -> None:
        async def send(_credential: Credential) -> str:
            order.append(member.subject)
            await may_answer.wait()
            return "task-0"

        await limiter.run(member, credentials("x"), send)

    calls = [asyncio.create_task(buy(ANN)) for _ in range(GENERATIONS_AT_ONCE + 8)]
    await turns()
    calls += [asyncio.create_task(buy(BOB)) for _ in range(2)]
    await turns()
    may_answer.set()
    await asyncio.gather(*calls)
    assert order[GENERATIONS_AT_ONCE : GENERATIONS_AT_ONCE + 4].count("bob") == 2, "each after one submission of ann"


async def test_run_raises_rate_limited_after_the_longest_wait_and_leaks_no_place(clock: HandClock) -> None:
    limiter, backend = ConcurrencyLimiter(ACEDATACLOUD, clock, clock.sleep), Backend()
    calls = [asyncio.create_task(limiter.run(A, credentials("a"), backend.send)) for _ in range(GENERATIONS_AT_ONCE)]
    await turns()
    late = asyncio.create_task(limiter.run(A, credentials("a"), backend.send))
    disconnected = asyncio.create_task(limiter.run(A, credentials("a"), backend.send))
    await turns()
    disconnected.cancel()
    await while_time_passes(clock, clock.sleep(MAX_WAIT_SECONDS + 1))
    with pytest.raises(RateLimited):
        await late
    backend.may_answer.set()
    await asyncio.gather(*calls)
    again = [limiter.run(A, credentials("a"), backend.send) for _ in range(GENERATIONS_AT_ONCE)]
    assert await asyncio.gather(*again) == ["task-0"] * GENERATIONS_AT_ONCE


async def test_an_added_credential_is_used_at_once(clock: HandClock) -> None:
    limiter, backend = ConcurrencyLimiter(ACEDATACLOUD, clock, clock.sleep), Backend()
    calls = [asyncio.create_task(limiter.run(ANN, credentials("x"), backend.send)) for _ in range(GENERATIONS_AT_ONCE)]
    await turns()
    calls.append(asyncio.create_task(limiter.run(BOB, credentials("x", "y"), backend.send)))
    await turns()
    assert backend.began[-1] == "y"
    backend.may_answer.set()
    await asyncio.gather(*calls)


async def test_on_free_slots_is_called_with_the_free_slots_of_a_teams_credentials(clock: HandClock) -> None:
    shown: list[tuple[int, int]] = []
    limiter = ConcurrencyLimiter(
        ACEDATACLOUD, clock, clock.sleep, on_free_slots=lambda number, free: shown.append((number, free))
    )
    backend = Backend()
    calls = [asyncio.create_task(limiter.run(ANN, credentials("x", "y"), backend.send)) for _ in range(3)]
    calls.append(asyncio.create_task(limiter.run(A, credentials("a"), backend.send)))
    await turns()
    assert shown == [(1, GENERATIONS_AT_ONCE - 1), (2, GENERATIONS_AT_ONCE - 1), (1, GENERATIONS_AT_ONCE - 2)]
    backend.may_answer.set()
    await asyncio.gather(*calls)
    assert dict(shown) == {1: GENERATIONS_AT_ONCE, 2: GENERATIONS_AT_ONCE}
