"""The memory that a process keeps after its work is done."""

import subprocess
import sys

MAX_KEPT_BYTES = 5_000_000
"""What stays of bursts of 64 MB each; with glibc's own thresholds it is several times as much."""

BURSTS = """
import psutil
from app.cli.process_tuning import tune_process

def burst():
    bodies, stays = [bytearray() for _ in range(16)], []
    for _ in range(64):
        for body in bodies:
            body += bytes(65_536)
            stays.append(bytes(2_000))  # between the bodies, so that no gap can be given back while it is there
    return stays[::50]

tune_process()
process, stays = psutil.Process(), burst()
before = process.memory_info().rss
for _ in range(10):
    stays += burst()
print(process.memory_info().rss - before)
"""


def test_memory_of_large_bodies_is_given_back() -> None:
    """In a process of its own, because what is settled here cannot be undone."""
    ran = subprocess.run([sys.executable, "-c", BURSTS], capture_output=True, text=True, timeout=60, check=True)
    assert int(ran.stdout) < MAX_KEPT_BYTES


MAX_OBJECTS = 400_000
"""What may be there while 150,000 objects are in use and two million come and go; by default it would be a million."""

CIRCLES = """
import gc
from collections import deque
from app.cli.process_tuning import tune_process

class Call:
    def __init__(self):
        self.me = self

tune_process()
most, calls = 0, deque(maxlen=75)
for number in range(1000):
    calls.append([Call() for _ in range(2_000)])
    if number % 20 == 0:
        most = max(most, len(gc.get_objects()))
print(most)
"""


def test_garbage_of_calls_does_not_accumulate() -> None:
    ran = subprocess.run([sys.executable, "-c", CIRCLES], capture_output=True, text=True, timeout=60, check=True)
    assert int(ran.stdout) < MAX_OBJECTS


def test_the_service_starts_without_sqlalchemys_orm() -> None:
    loaded = "import sys, app.cli.serve; print(*[name for name in sys.modules if name.startswith('sqlalchemy.orm')])"
    ended = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""
