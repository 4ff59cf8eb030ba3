"""Fixtures for tests of adapters."""

from collections.abc import Iterator

import pytest

from tests.support.redis_forms import redis_forms


@pytest.fixture(scope="session")
def redis_urls() -> Iterator[dict[str, str]]:
    """Yield a URL of each kind of Redis, to real servers."""
    with redis_forms() as urls:
        yield urls
