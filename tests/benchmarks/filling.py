"""Finished tasks put into Redis as the service keeps them, many at a time."""

import time

from pydantic import TypeAdapter

from app.adapters.identity import Tenants
from app.domain.task import Task, TaskState, Video
from app.services.owned import Owned
from app.services.task_cache import task_key
from tests.benchmarks.loads import ids
from tests.support.redis_server import RedisServer

KEY = "a key for the benchmark, long enough"
MOST_AT_ONCE = 1_000
MOST_SCRIPTS = 100
"""Tasks that one script puts there, and scripts that one round trip carries."""
TENANTS = Tenants(KEY)
_NAME = "IdOfOneTask"  # without signs that mean something in a pattern
_NUMBERED = "%08d" + ids(1)[0].removeprefix("00000000")
_SCRIPT = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format(ARGV[6], number)
  redis.call('SET', string.format(ARGV[3], number), (string.gsub(ARGV[4], ARGV[5], id)), 'PX', 86400000)
end
"""
"""Keeps tasks with the numbers from the first to the second: key, value, what stands for the id in it, and the id."""


def fill(redis: RedisServer, *shares: tuple[str, int, int]) -> None:
    """Keep tasks for the holders of tokens: of each share, those numbered from its first to before its last."""
    owned, task = Owned(TypeAdapter(Task)), _task()
    with redis.client() as client:
        script, pipeline = client.register_script(_SCRIPT), client.pipeline(transaction=False)
        for token, first, last in shares:
            tenant = TENANTS.principal(token).tenant
            kept = [task_key(tenant, _NUMBERED), owned.pack(tenant, task), _NAME, _NUMBERED]
            for start in range(first, last, MOST_AT_ONCE):
                script(args=[start, min(start + MOST_AT_ONCE, last) - 1, *kept], client=pipeline)
                if len(pipeline) >= MOST_SCRIPTS:
                    pipeline.execute()
        pipeline.execute()


def _task() -> Task:
    """Return a finished task whose id is the name that stands for every id."""
    now, address = time.time(), f"https://cdn.example.com/luma/{_NAME}"
    video = Video(f"{address}.mp4", f"video-of-{_NAME}", 1360, 752, f"{address}.jpg")
    return Task(_NAME, TaskState.COMPLETED, "A fox", video, None, now - 220, now - 65, 154.2)
