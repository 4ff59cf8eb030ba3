"""Whether a Redis keeps what it was told: idempotency keys that it drops could buy again."""

from collections.abc import Mapping
from typing import Any

from app.adapters.redis_store import RedisStore
from app.ports import StoreUnavailable

_LOOKED_AT = ("maxmemory_policy", "aof_enabled", "connected_slaves")

CANNOT_LOOK = (
    "INFO of Redis is denied or incomplete, so it is not known whether idempotency keys outlive a restart, a full "
    "memory and a failover. Give the user +info for this check, or see docs/redis.md"
)
EVICTS = (
    "maxmemory-policy of Redis is not noeviction: when its memory is full it may drop idempotency keys of the last "
    "day, and each could buy again. Set maxmemory-policy noeviction"
)
NOT_ON_DISK = (
    "appendonly of Redis is off: a restart loses idempotency keys of the last day, and each could buy again. Set "
    "appendonly yes"
)
NOT_ON_REPLICAS = (
    "min-replicas-to-write of Redis is 0, and it has replicas: a master that is cut off from them goes on taking "
    "idempotency keys, which are lost in the failover. Set min-replicas-to-write 1"
)


async def durability_warnings(store: RedisStore) -> list[str]:
    """Return what is wrong with the settings of the server, or of one node of a Cluster, as sentences."""
    try:
        async with store.link.in_time(may_be_denied=True):
            info: Mapping[str, Any] = await store.client.info()
    except StoreUnavailable:
        return [CANNOT_LOOK]
    if not all(name in info for name in _LOOKED_AT):
        return [CANNOT_LOOK]
    found = {
        EVICTS: info["maxmemory_policy"] != "noeviction",
        NOT_ON_DISK: not info["aof_enabled"],
        # INFO has the number of good replicas only where some are required.
        NOT_ON_REPLICAS: info["connected_slaves"] and "min_slaves_good_slaves" not in info,
    }
    return [sentence for sentence, is_so in found.items() if is_so]
