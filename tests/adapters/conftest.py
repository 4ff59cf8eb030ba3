"""Fixtures of the adapters' room."""

from collections.abc import Iterator

import pytest

from tests.support.redis_forms import redis_forms


@pytest.fixture(scope="session")
def redis_urls() -> Iterator[dict[str, str]]:
    """Lend a URL of each form of Redis, to real servers."""
    with redis_forms() as urls:
        yield urls
