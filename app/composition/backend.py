"""Builds the client of the backend's HTTP API, and the sandbox.

The sandbox runs in this process and speaks AceDataCloud's HTTP API, so the same client and adapter serve both.
"""

from collections.abc import Callable
from functools import partial

import httpx

from app.adapters.acedata.client import AceDataClient, Timeouts
from app.adapters.acedata.pool import BackendHttp
from app.adapters.network_environment import EnvironmentFault
from app.adapters.sandbox.backend import sandbox_app
from app.adapters.sandbox.engine import Sandbox
from app.composition.clocks import Clocks
from app.composition.description import VERSION
from app.observability.metrics import Metrics
from app.services.limits.backend_limits import BackendLimits
from app.settings import Settings, SettingsError

SANDBOX_MEDIA_PATH = "/sandbox/media"
"""Path under which this service serves the sandbox's videos."""


def build_sandbox(settings: Settings, base_url: str, clocks: Clocks) -> Sandbox:
    """Return the sandbox. Its videos are served under the public URL if it is set, else under `base_url`."""
    media_url = f"{settings.public_url or base_url}{SANDBOX_MEDIA_PATH}"
    return Sandbox(seconds=settings.sandbox_seconds, media_url=media_url, clock=clocks.wall)


def media_url_of(sandbox: Sandbox | None) -> str | None:
    """Return the URL under which this service serves the sandbox's videos; None without a sandbox."""
    return sandbox.media_url if sandbox is not None else None


def backend_transport(
    sandbox: Sandbox | None, transport: httpx.AsyncBaseTransport | None
) -> httpx.AsyncBaseTransport | None:
    """Return an ASGI transport to the sandbox if there is one, else `transport`. None selects the network."""
    return transport if sandbox is None else httpx.ASGITransport(app=sandbox_app(sandbox))


def build_acedata_client(  # noqa: PLR0913, PLR0917 - the dependencies of a client
    settings: Settings,
    metrics: Metrics,
    backend_limits: BackendLimits,
    timeouts: Timeouts,
    transport: httpx.AsyncBaseTransport | None,
    on_refusal: Callable[[], None],
) -> AceDataClient:
    """Return a client with separate connection pools for reads and submissions.

    `transport` replaces the network. `on_refusal` is called for each submission that waits too long for a slot of the
    concurrency limit. Raises SettingsError for a proxy or certificate variable that cannot be used.
    """
    new_pool = partial(BackendHttp, settings.acedata_url, user_agent=f"luma-mcp/{VERSION}", transport=transport)
    try:
        reads = new_pool(connections=backend_limits.read_connections)
        # A response on a reused connection could be that to another tenant's submission: see `BackendHttp`.
        submissions = new_pool(connections=backend_limits.submission_connections, keeps_connections=False)
    except EnvironmentFault as exc:
        raise SettingsError(str(exc)) from None
    return AceDataClient(reads, metrics, timeouts, backend_limits, submission_http=submissions, on_refusal=on_refusal)
