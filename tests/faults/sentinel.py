"""A Redis that is watched: a replica beside it, and a Sentinel that puts the replica in its place."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from tests.faults.ports import low_port
from tests.support.redis_server import RedisSentinel, RedisServer

READY_SECONDS = 15.0
DOWN_AFTER_MILLISECONDS = 500


async def start_sentinel(master: RedisServer, stack: AsyncExitStack) -> RedisSentinel:
    """Start both beside a master that runs. Raises TimeoutError where they do not come to know each other."""
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


async def promoted(sentinel: RedisSentinel, lost_port: int) -> int:
    """Return the port of the master that took the place of the lost one. Raises TimeoutError."""

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
    async with asyncio.timeout(READY_SECONDS):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)
