"""Bulk loading of finished tasks into Redis, in the service's own keys, format and seals."""

import time

from app.adapters.auth.passthrough import PassthroughAuthenticator
from app.adapters.value_sealer import AesValueSealer
from app.domain.task import Task, TaskState, Video
from app.mcp_server.tools.rendering import render
from app.services.key_namespace import key_namespace
from app.services.tasks.cache import TASK_KIND
from app.services.tasks.sealed_values import SealedValues
from app.services.tasks.stored_format import pack_task
from tests.benchmarks.loads import ids
from tests.support.redis_server import RedisServer

KEY = "a key for the benchmark: long enough"
MAX_AT_ONCE = 1_000
DAY_MILLISECONDS = 86_400_000
TENANTS = PassthroughAuthenticator(KEY)
_NAME = "the-id-of-every-task-in-these-values"  # as long as a real id, because the stored format contains lengths
_NUMBERED = "%08d" + ids(1)[0].removeprefix("00000000")


def preload_tasks(redis: RedisServer, backend_url: str, *shares: tuple[str, int, int]) -> None:
    """Write tasks for tokens. Each share is (token, first, last): the tasks first to last - 1 (see `loads.ids`)."""
    sealer = AesValueSealer(KEY)
    owned = SealedValues(TASK_KIND, key_namespace("luma-mcp", backend_url.removesuffix("/mcp")), sealer)
    body = pack_task(render(_task())._replace(fresh_until=time.time() + DAY_MILLISECONDS / 1000))
    assert body is not None
    with redis.client() as client:
        for token, first, last in shares:
            tenant = TENANTS.hash_token(token)
            for start in range(first, last, MAX_AT_ONCE):
                pipeline = client.pipeline(transaction=False)
                for number in range(start, min(start + MAX_AT_ONCE, last)):
                    name = _NUMBERED % number
                    key = owned.key(tenant, name)
                    kept = sealer.seal(key, body.replace(_NAME.encode(), name.encode()))
                    pipeline.set(key, kept, px=DAY_MILLISECONDS)
                pipeline.execute()


def _task() -> Task:
    """Return a finished task with the placeholder id _NAME."""
    now, address = time.time(), f"https://cdn.example.com/luma/{_NAME}"
    video = Video(f"{address}.mp4", f"video-of-{_NAME}", 1360, 752, f"{address}.jpg")
    return Task(_NAME, TaskState.COMPLETED, "A fox", video, None, now - 220, now - 65, 154.2)
