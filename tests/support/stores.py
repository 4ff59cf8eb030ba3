"""A store that counts its round trips and is out when the test says so."""

from collections.abc import Mapping, Sequence

from app.ports import StoreUnavailable


class CountingStore:
    """A Store without expiry; `held` is what it holds and how long each value was meant to stay."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.ttl_seconds: dict[str, float] = {}
        self.asked: list[list[str]] = []
        self.puts = 0
        self.is_out = False

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(list(keys))
        self._answer_or_fail()
        return [self.held.get(key) for key in keys]

    async def put_many(self, values: Mapping[str, bytes], ttl_seconds: Mapping[str, float]) -> None:
        self.puts += 1
        self._answer_or_fail()
        self.held.update(values)
        self.ttl_seconds.update(ttl_seconds)

    async def remove_many(self, keys: Sequence[str]) -> None:
        self._answer_or_fail()
        for key in keys:
            self.held.pop(key, None)

    async def ping(self) -> None:
        self._answer_or_fail()

    def _answer_or_fail(self) -> None:
        if self.is_out:
            raise StoreUnavailable("out")
