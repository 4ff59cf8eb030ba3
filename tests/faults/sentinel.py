"""A replica of a Redis, and a Sentinel that promotes it when the master fails."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from tests.faults.ports import low_port
from tests.support.redis_server import RedisSentinel, RedisServer

TIMEOUT_SECONDS = 15.0
"""The limit for replication and discovery at the start, and for a failover."""

DOWN_AFTER_MILLISECONDS = 500
"""How long the master may be silent before the Sentinel starts a failover."""


async def start_sentinel(master: RedisServer, stack: AsyncExitStack) -> RedisSentinel:
    """Start a replica of a running master, and a Sentinel, on `stack`; return the Sentinel.

    Raises TimeoutError if the replica does not connect or the Sentinel does not discover it.
    """
    replica, sentinel = RedisServer("--replicaof", "127.0.0.1", str(master.port)), RedisSentinel(master)
    for server in (replica, sentinel):
        server.port = low_port()
        stack.callback(server.close)
        await asyncio.to_thread(server.start)
    with replica.client() as client:
        await _until(lambda: client.info("replication")["master_link_status"] == "up")
    with sentinel.client() as client:
        client.execute_command("SENTINEL", "SET", "luma", "down-after-milliseconds", str(DOWN_AFTER_MILLISECONDS))
        client.execute_command("SENTINEL", "SET", "luma", "failover-timeout", "3000")
        await _until(lambda: client.execute_command("SENTINEL", "REPLICAS", "luma") != [])
    return sentinel


async def wait_for_new_master(sentinel: RedisSentinel, lost_port: int) -> int:
    """Return the port of the new master as soon as it is not `lost_port`. Raises TimeoutError after TIMEOUT_SECONDS."""

    def has_another() -> bool:
        with sentinel.client() as client:
            return port_of_master(client) != lost_port

    def port_of_master(client: object) -> int:
        answer = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "luma")  # type: ignore[attr-defined]
        return int(answer[1])

    await _until(has_another)
    with sentinel.client() as client:
        return port_of_master(client)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)
