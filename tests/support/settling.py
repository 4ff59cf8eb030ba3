"""Waiting until replicas have seen what has changed in the database."""

from tests.support.clock import HandClock, while_time_passes
from tests.support.service import Service


async def settle(clock: HandClock, *replicas: Service) -> None:
    """Let time pass until each of `replicas` has read the versions of teams and grants once more."""
    since = clock()

    def has_read(service: Service) -> bool:
        directory, sign_in = service.assembly.directory, service.assembly.sign_in
        caches = [one.cache for one in (directory, sign_in) if one is not None]
        return all(cache.confirmed_at > since for cache in caches)

    async def all_have_read() -> None:
        while not all(map(has_read, replicas)):
            await clock.sleep(0.5)

    await while_time_passes(clock, all_have_read(), step=0.5)
