"""The two builds that the suite meets: the service as it ships, and the same assembly with the suite's fixtures."""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from app.composition.application import assemble
from app.web.app import create_app
from tests.conformance.fixtures import extend
from tests.support.process import environment, serving_process
from tests.support.service import listening, settings


@asynccontextmanager
async def real_build() -> AsyncIterator[str]:
    """Serve the sandbox by the installed command, with its default settings, and yield its address."""
    with (
        tempfile.TemporaryDirectory() as cwd,
        serving_process("--sandbox", cwd=Path(cwd), env=environment()) as server,
    ):
        yield server.url


@asynccontextmanager
async def fixture_build() -> AsyncIterator[str]:
    """Serve the sandbox with the fixtures, streaming every answer whose client accepts that, and yield its address."""
    values = settings(backend="sandbox", log_level="ERROR")
    assembly = assemble(values, base_url="http://127.0.0.1")
    async with listening(create_app(values, assembly, extend_server=extend, needs_stream=lambda _body: True)) as url:
        yield url


BUILDS: dict[str, Callable[[], AbstractAsyncContextManager[str]]] = {"real": real_build, "fixture": fixture_build}
