"""Sealed and signed values in a store, with one key namespace and one secret for all tests."""

import asyncio

from app.adapters.value_sealer import AesValueSealer
from app.adapters.value_signer import HmacSigner
from app.ports.coordination import Coordination, EventKind
from app.services.key_namespace import KeyNamespace
from app.services.tasks.cache import TASK_KIND
from app.services.tasks.sealed_values import SealedValues
from app.services.tasks.snapshots import SNAPSHOT_KIND

KEYS = KeyNamespace("luma-mcp:tests")
SIGNER = HmacSigner("a key for tests that is long enough: 48 bytes or so")
CHANNEL = KEYS.channel(0)
SEALER = AesValueSealer("a key for tests that is long enough: 48 bytes or so")
TASKS = SealedValues(TASK_KIND, KEYS, SEALER)
RECORDS = SealedValues(SNAPSHOT_KIND, KEYS, SEALER)


async def until_heard(speaker: Coordination, listener: Coordination) -> None:
    """Publish probes from `speaker` until `listener` receives one: its subscription is established then.

    Raises TimeoutError after 20 seconds.
    """
    heard = asyncio.Event()
    stop = listener.subscribe(EventKind.PROBE, lambda _message: heard.set())
    async with asyncio.timeout(20):
        while not heard.is_set():
            await speaker.publish(EventKind.PROBE, b"hello")
            await asyncio.sleep(0.01)
    stop()
