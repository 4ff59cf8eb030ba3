"""Caches that are bounded in number: each forgets the oldest of its small entries for one above its limit.

Caches of callers' tokens at the backend, of refused tokens, of rate limits and of purchases in memory have tests of
their own; so do all that are bounded in bytes.
"""

from collections.abc import Awaitable, Callable, Collection
from itertools import combinations, islice
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from app.adapters.acedata.policy import ACEDATACLOUD
from app.domain.access import PASSTHROUGH_SCOPES, Principal, Visibility
from app.domain.rendered import RenderedTask
from app.mcp_server.tools.catalog import build_catalog
from app.mcp_server.tools.rendering import render
from app.mcp_server.tools.tool_filter import ToolFilter
from app.mcp_server.tools.tool_lists import MAX_LISTS, ToolLists
from app.services.limits.address_limits import MAX_ADDRESSES, AddressLimit
from app.services.limits.request_rate import MAX_CALLERS, RequestRate
from app.services.sign_in.grant_cache import MAX_TOKENS, GrantCache
from app.services.tasks import access, snapshots
from app.services.tasks.access import TaskAccess
from app.services.tasks.snapshots import TaskSnapshots
from app.services.teams.directory_cache import MAX_KEYS
from app.services.version_follower import CacheClocks
from app.web.routes import MAX_PAGES, page_route
from tests.services.teams.test_directory_cache import Watched, holder
from tests.support.clock import HandClock
from tests.support.keeping import RECORDS
from tests.support.stores import CountingStore
from tests.support.turns import database_turns

IsCached = Callable[[int], Awaitable[bool]]
"""Looks up the entry with a number, and returns whether it was cached. It is cached afterwards."""


def unknown_keys(clock: HandClock) -> tuple[int, IsCached]:
    watched = Watched(clock)

    async def is_cached(number: int) -> bool:
        before = len(watched.rows.asked)
        assert await watched.cache.key(f"key-{number}") is None
        return len(watched.rows.asked) == before

    return MAX_KEYS, is_cached


def known_keys(clock: HandClock) -> tuple[int, IsCached]:
    watched = Watched(clock)

    async def is_cached(number: int) -> bool:
        watched.rows.holders = {f"key-{number}": holder("key-1", clock())}
        before = len(watched.rows.asked)
        assert await watched.cache.key(f"key-{number}") is not None
        return len(watched.rows.asked) == before

    return MAX_KEYS, is_cached


def unknown_access_tokens(clock: HandClock) -> tuple[int, IsCached]:
    class Grants:
        def __init__(self) -> None:
            self.asked = 0

        async def access(self, _digests: Collection[str]) -> dict[str, Any]:
            self.asked += 1
            return {}

    grants: Any = Grants()
    nothing: Any = None
    cache = GrantCache(grants, nothing, CacheClocks(clock, clock, clock.sleep), nothing)

    async def is_cached(number: int) -> bool:
        before: int = grants.asked
        assert await cache.token(f"token-{number}") is None
        return bool(grants.asked == before)

    return MAX_TOKENS, is_cached


def allowed_tasks(_clock: HandClock) -> tuple[int, IsCached]:
    class Purchases:
        def __init__(self) -> None:
            self.asked = 0

        async def bought(self, _owner: str, task_ids: Collection[str], *, member: str | None) -> set[str]:
            assert member is None
            self.asked += 1
            return set(task_ids)

    purchases: Any = Purchases()
    allowed, member = TaskAccess(purchases, database_turns()), Principal("anna", "film", sees=Visibility.TEAM)

    async def is_cached(number: int) -> bool:
        before: int = purchases.asked
        assert await allowed.denied(member, [f"task-{number}"]) == {}
        return bool(purchases.asked == before)

    return access.MAX_CACHED, is_cached


def new_tasks(clock: HandClock) -> tuple[int, IsCached]:
    store = CountingStore()
    kept = TaskSnapshots(store, RECORDS, render=render, wall_clock=clock, monotonic_clock=clock)

    async def is_cached(number: int) -> bool:
        store.held.clear()  # as if the store had failed since
        found = await kept.get_many("tenant", [f"task-{number}"])
        if not found:
            await kept.add_submitted("tenant", f"task-{number}", expects_callback=False)
            return False
        assert isinstance(found[f"task-{number}"].task, RenderedTask)
        return True

    return snapshots.MAX_NEW, is_cached


def tool_lists(_clock: HandClock) -> tuple[int, IsCached]:
    tools = build_catalog(200, ACEDATACLOUD)
    lists, caller = ToolLists(tools, 1000), Principal("anna", scopes=PASSTHROUGH_SCOPES)
    kinds = [frozenset(names) for names in islice(combinations([tool.name for tool in tools], 4), MAX_LISTS + 1)]
    made: dict[int, Any] = {}

    async def is_cached(number: int) -> bool:
        listed, before = lists.list_result(caller, ToolFilter(names=kinds[number])), made.get(number)
        made[number] = listed
        return listed is before

    return MAX_LISTS, is_cached


def landing_pages(_clock: HandClock) -> tuple[int, IsCached]:
    rendered = list[str]()

    def page(url: str, _is_url_uncertain: bool) -> str:
        rendered.append(url)
        return f"<p>{url}</p>"

    transport = httpx.ASGITransport(Starlette(routes=[page_route(page, None)]))

    async def is_cached(number: int) -> bool:
        before = len(rendered)
        async with httpx.AsyncClient(transport=transport) as http:
            assert f"host-{number}.example.com" in (await http.get(f"http://host-{number}.example.com/")).text
        return len(rendered) == before

    return MAX_PAGES, is_cached


def addresses(clock: HandClock) -> tuple[int, IsCached]:
    limit = AddressLimit(1, 10 * MAX_ADDRESSES, 60.0, clock)

    async def is_cached(number: int) -> bool:
        return limit.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}") is not None

    return MAX_ADDRESSES, is_cached


def administrators(clock: HandClock) -> tuple[int, IsCached]:
    rate = RequestRate(1.0, 1, clock)

    async def is_cached(number: int) -> bool:
        return rate.take(f"team-{number}") > 0

    return MAX_CALLERS, is_cached


CACHES = (
    unknown_keys,
    known_keys,
    unknown_access_tokens,
    allowed_tasks,
    new_tasks,
    tool_lists,
    landing_pages,
    addresses,
    administrators,
)


@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: cache.__name__)
async def test_a_full_cache_forgets_the_oldest_entry_for_a_new_one(
    cache: Callable[[HandClock], tuple[int, IsCached]], clock: HandClock
) -> None:
    limit, is_cached = cache(clock)
    assert not any([await is_cached(number) for number in range(limit + 1)])
    assert await is_cached(limit)
    assert not await is_cached(0)
