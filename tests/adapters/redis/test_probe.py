"""The probe of `luma-mcp check` and /readyz on every kind of Redis."""

import pytest

from app.adapters.redis.coordination import RedisCoordination
from app.adapters.redis.store import connect
from app.services.key_namespace import KeyNamespace
from app.services.tasks.store_probe import probe
from tests.support.clock import HandClock
from tests.support.keeping import CHANNEL, SIGNER


class CountedReplaces(RedisCoordination):
    """Counts the operations that compare and set."""

    replaced = 0

    async def replace(self, key: str, expected: bytes, value: bytes, ttl_seconds: float) -> bool:
        self.replaced += 1
        return await super().replace(key, expected, value, ttl_seconds)


@pytest.mark.parametrize("form", ["redis", "unix", "sentinel", "cluster"])
async def test_the_probe_tries_every_operation_on_every_kind_of_redis(
    form: str, redis_urls: dict[str, str], clock: HandClock
) -> None:
    store = connect(redis_urls[form])
    coordination = CountedReplaces(store.connection, SIGNER, CHANNEL, clock)
    coordination.start()
    await probe(store, coordination, KeyNamespace("probe"), received_within_seconds=10)
    assert coordination.replaced == 1
    await coordination.aclose()
    await store.aclose()
