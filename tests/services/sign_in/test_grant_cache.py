"""GrantCache: many tokens are looked up together, and one token once however often it is used."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from app.domain.access import PASSTHROUGH_SCOPES, Principal
from app.domain.sign_in import Grant, Person, Registration
from app.ports.auth import AccessRefused, AuthenticationUnavailable, Caller
from app.ports.sign_in_store import AccessHolder
from app.services.batched_lookups import MAX_READ, MAX_WAITING
from app.services.sign_in.grant_cache import GrantCache
from app.services.version_follower import CacheClocks
from tests.support.clock import HandClock

NOTHING: Any = None
PERSON = Person("p" * 32, "https://login.example.com", "anna", "sealed")


def holder(number: int) -> AccessHolder:
    times = {"rotated_at": 0.0, "confirmed_at": None, "refresh_until": 9e9, "ends_at": 9e9, "created_at": 0.0}
    named = ("client", "Client", "127.0.0.1", Registration.DYNAMIC, PASSTHROUGH_SCOPES)
    grant = Grant(f"grant-{number}", PERSON.id, *named, generation=0, current="c", previous=None, **times)  # type: ignore[arg-type]
    return AccessHolder(grant, PERSON, PASSTHROUGH_SCOPES, 0, 9e9, 0.0)


class Grants:
    """The grants of tokens named `token-<number>`. A read answers when `may_answer` is set."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.reads: list[list[str]] = []
        self.confirmed: list[tuple[str, int]] = []

    async def access(self, digests: Collection[str]) -> dict[str, AccessHolder]:
        self.reads.append(list(digests))
        await self.may_answer.wait()
        return {digest: holder(int(digest.removeprefix("token-"))) for digest in digests}

    async def confirm(self, first_uses: Collection[tuple[str, int]]) -> None:
        self.confirmed += first_uses


class Callers:
    """Makes the callers, or refuses each of them with `refusal`."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal

    def directory_generation(self) -> int:
        return 0

    async def of(self, holder: AccessHolder) -> Caller:
        if self.refusal is not None:
            raise self.refusal
        return Caller(Principal(holder.person.id), NOTHING)


def cache_of(grants: Any, callers: Any, clock: HandClock) -> GrantCache:
    return GrantCache(grants, callers, CacheClocks(clock, clock, clock.sleep), NOTHING)


async def after_all_wait(grants: Grants, calls: Collection[Any]) -> list[Any]:
    """Start the calls, let the reads answer when all calls wait, and return the results and exceptions."""
    tasks = [asyncio.create_task(call) for call in calls]
    for _ in range(3):
        await asyncio.sleep(0)
    grants.may_answer.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_tokens_are_read_together_and_confirmed_in_one_statement(clock: HandClock) -> None:
    grants = Grants()
    cache = cache_of(grants, Callers(), clock)
    found = await after_all_wait(grants, [cache.token(f"token-{number}") for number in range(MAX_WAITING)])
    assert {known.grant_id for known in found} == {f"grant-{number}" for number in range(MAX_WAITING)}
    assert len(grants.reads) <= MAX_WAITING // MAX_READ + 1
    assert max(map(len, grants.reads)) <= MAX_READ
    assert len(grants.confirmed) == MAX_WAITING
    assert cache.known("token-7") is not None


async def test_a_token_above_the_limit_takes_the_place_of_the_one_that_has_waited_longest(clock: HandClock) -> None:
    grants = Grants()
    cache = cache_of(grants, Callers(), clock)
    found = await after_all_wait(grants, [cache.token(f"token-{number}") for number in range(MAX_WAITING + 1)])
    refused = [number for number, known in enumerate(found) if isinstance(known, AuthenticationUnavailable)]
    assert refused == [0]


@pytest.mark.parametrize("refusal", [None, AccessRefused("no team")])
async def test_calls_with_one_token_share_a_read(refusal: Exception | None, clock: HandClock) -> None:
    grants = Grants()
    cache = cache_of(grants, Callers(refusal), clock)
    found = await after_all_wait(grants, [cache.token("token-1") for _ in range(300)])
    assert grants.reads == [["token-1"]]
    if refusal is not None:
        assert found == [refusal] * 300
