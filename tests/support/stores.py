"""A Store in memory that records its calls and can fail on demand."""

from collections.abc import Mapping, Sequence

from app.ports.store import StoreRefuses, StoreUnavailable


class CountingStore:
    """A Store without expiry that records its calls.

    `held` has the values and `ttl_seconds` their requested lifetimes. `asked` has the keys of each `get_many`, and
    `puts` counts `put_many`. While `is_out` is set every operation raises StoreUnavailable. `refused` maps "get",
    "put", "remove" or "ping" to the error code with which that operation raises StoreRefuses.
    """

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.ttl_seconds: dict[str, float] = {}
        self.asked: list[list[str]] = []
        self.puts = 0
        self.is_out = False
        self.refused: dict[str, str] = {}

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(list(keys))
        self._answer_or_fail("get")
        return [self.held.get(key) for key in keys]

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        self.puts += 1
        self._answer_or_fail("put")
        self.held.update(values)
        self.ttl_seconds.update(ttl_seconds)

    async def remove_many(self, keys: Sequence[str]) -> None:
        self._answer_or_fail("remove")
        for key in keys:
            self.held.pop(key, None)

    async def ping(self) -> None:
        self._answer_or_fail("ping")

    def _answer_or_fail(self, operation: str) -> None:
        if self.is_out:
            raise StoreUnavailable("out")
        if operation in self.refused:
            raise StoreRefuses(self.refused[operation])
