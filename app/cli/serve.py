"""`luma-mcp serve`: runs the application under uvicorn, in one process or several."""

import asyncio
import logging
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from app.cli.process_tuning import tune_process
from app.composition.application import assemble
from app.local_secret import with_local_secret
from app.observability.logging import configure_logging
from app.observability.metrics_folder import MULTIPROCESS_VARIABLE, delete_files_of_ended_processes
from app.observability.tracing import export_spans
from app.persistence import prepare_database
from app.settings import Settings, SettingsError, load_settings, require_key, unknown_variables
from app.web.app import create_app
from app.web.connection.protocol import DisconnectAwareProtocol
from app.web.readiness import STOP_SIGNALS

DRAIN_SECONDS = 60
"""Time for which calls in flight may continue after SIGTERM. Kubernetes and compose must wait longer (see deploy/).

A purchase may wait 20 s for a free place and 35 s for the backend. Calls that wait for tasks are answered at once.
"""

OTHER_OPEN_FILES = 256
"""File descriptors other than callers' connections: connections to the backend and Redis, files, and the log."""

WORKER_SILENT_SECONDS = 30
"""Time after which a silent worker is replaced. A worker that imports is silent, for 10 s on a loaded machine.

With uvicorn's 5 s, workers of such a machine would be replaced before they have started, again and again.
"""

BACKLOG = 2048
"""Length of the queue of connections that the kernel has accepted and the process has not."""

ACCEPTED_TOGETHER = 4
"""Connections that a process accepts in one iteration of its event loop.

libuv accepts one connection for each listening socket, so `duplicates` makes as many sockets of one address.

With one, a few hundred new connections a second fill the backlog, and others wait for seconds. With 32, accepting them
delays the requests of open connections.
"""

LOOPBACK_OF_WILDCARD = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound
"""Wildcard addresses, each with the loopback address of its family."""

LOCAL_LINKS = (
    ". The links to the sandbox's videos lead to this machine; for other machines, run the sandbox with "
    "LUMA_MCP_BACKEND=sandbox and LUMA_MCP_PUBLIC_URL"
)

WORKERS_WITHOUT_REDIS = (
    "Several workers need LUMA_MCP_REDIS_URL: without Redis each has its own cache, and does not see the callbacks "
    "that another receives."
)

log = logging.getLogger(__name__)


def serve_processes(settings: Settings, *, host: str, port: int, workers: int, env_file: str | None) -> None:
    """Serve until SIGTERM or SIGINT. With several workers, each reads the settings from `env_file` again.

    Raises SettingsError for unusable settings, such as several workers without Redis, and for an address in use.
    """
    require_key(settings, workers)
    if workers > 1 and settings.backend == "sandbox":
        raise SettingsError("The sandbox keeps its tasks in one process: run it with one worker.")
    if workers > 1 and settings.redis_url is None:
        raise SettingsError(WORKERS_WITHOUT_REDIS)
    configure_logging(settings.log_level, settings.log_format)
    if (folder := os.environ.get(MULTIPROCESS_VARIABLE)) is not None:
        delete_files_of_ended_processes(Path(folder))
    settings = with_local_secret(settings)
    asyncio.run(prepare_database(settings))
    allow_open_files(settings.connections + OTHER_OPEN_FILES)
    for name in unknown_variables(env_file):
        log.warning("%s is not a setting and has no effect: is it misspelt? `luma-mcp check` lists the settings", name)
    log_unreachable_host(settings, host)
    settings = allow_listening_host(settings, host)
    if workers > 1:
        _serve_many(settings, host=host, port=port, workers=workers, env_file=env_file)
    else:
        _serve_one(settings, host=host, port=port)


def allow_open_files(needed: int) -> None:
    """Increase the soft limit of open files to `needed`, or to the hard limit if that is lower. Workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning(
            "The system allows %d open files, and LUMA_MCP_CONNECTIONS needs %d: connections beyond that are not "
            "accepted. Raise the limit of open files (ulimit -n, LimitNOFILE), or lower the setting",
            allowed,
            needed,
        )


def _serve_one(settings: Settings, *, host: str, port: int) -> None:
    config = _config(settings, host=host, port=port)
    listening = listening_socket(host, port)
    base_url = _base_url(host, listening)
    sockets = [*duplicates(listening), *_other_sockets(settings, host)]
    export_spans()
    assembly = assemble(settings, base_url=base_url)
    config.app = create_app(settings, assembly)
    log.info("Serving MCP at %s/mcp (backend %s)", base_url, settings.backend)
    server = uvicorn.Server(config)
    # These handlers stop the server until uvicorn installs its own. After draining, uvicorn restores these and raises
    # the signal again; they then only set a flag, so the process exits with status 0.
    for signum in STOP_SIGNALS:
        signal.signal(signum, lambda *_: setattr(server, "should_exit", True))
    tune_process()
    server.run(sockets=sockets)


class _Workers(Multiprocess):
    """Starts workers with SIGINT blocked, because Ctrl-C would make a worker that is still importing print a traceback.

    `build_worker` unblocks SIGINT, after uvicorn has installed its handler.
    """

    def init_processes(self) -> None:
        """Start the workers.

        The resource tracker of multiprocessing must be started first, because its start unblocks SIGINT.
        """
        resource_tracker.ensure_running()
        with _sigint_blocked():
            super().init_processes()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have ended, or do not answer for WORKER_SILENT_SECONDS.

        Only a worker itself may hold its end of the pipe: otherwise a worker that is killed before it answers a ping
        would be waited for as if it were silent.
        """
        for worker in self.processes:
            worker.child_conn.close()
        with _sigint_blocked():
            super().keep_subprocess_alive()


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT, also in processes that are started meanwhile, which inherit the signal mask."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _serve_many(settings: Settings, *, host: str, port: int, workers: int, env_file: str | None) -> None:
    with ExitStack() as stack:
        if MULTIPROCESS_VARIABLE not in os.environ:
            os.environ[MULTIPROCESS_VARIABLE] = stack.enter_context(tempfile.TemporaryDirectory(prefix="luma-mcp-"))
        config = _config(settings, host=host, port=port, workers=workers)
        config.app = partial(build_worker, env_file, host)
        listening = listening_socket(host, port)
        sockets = [*duplicates(listening), *_other_sockets(settings, host)]
        log.info("Serving MCP at %s/mcp with %d workers", _base_url(host, listening), workers)
        _Workers(config, sockets=sockets).run()


def duplicates(listening: socket) -> list[socket]:
    """Return a socket and duplicates of it, ACCEPTED_TOGETHER in all. They share one backlog."""
    return [listening, *(listening.dup() for _ in range(ACCEPTED_TOGETHER - 1))]


def _other_sockets(settings: Settings, host: str) -> list[socket]:
    """Return the sockets of administration and metrics, if they have ports of their own."""
    ports = {"LUMA_MCP_ADMIN": settings.admin, "LUMA_MCP_METRICS": settings.metrics}
    return [listening_socket(host, port, name) for name, port in ports.items() if isinstance(port, int)]


def build_worker(env_file: str | None, host: str = "127.0.0.1") -> ASGIApp:
    """Return the application of one worker, in the worker's process. The settings are read again."""
    settings = allow_listening_host(load_settings(env_file), host)
    configure_logging(settings.log_level, settings.log_format)
    export_spans()
    app = create_app(settings, assemble(settings, base_url=""))
    tune_process()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return app


def _config(settings: Settings, *, host: str, port: int, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app="",
        factory=workers > 1,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=WORKER_SILENT_SECONDS,
        backlog=BACKLOG,
        loop="auto",
        http=DisconnectAwareProtocol,
        ws="none",
        lifespan="on",
    )


def listening_socket(host: str, port: int, chosen_by: str = "--port") -> socket:
    """Return a socket that listens at the address, for all workers.

    `chosen_by` names the option or setting of the port. Raises SettingsError if the address is in use. The socket is
    created with IPPROTO_TCP, because asyncio disables Nagle's algorithm for such sockets only; otherwise a response in
    two writes would wait 40 ms for the client's delayed acknowledgement.
    """
    bound = socket(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM, IPPROTO_TCP)
    bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)  # connections made before the application is up wait in the backlog
    except OSError as exc:
        bound.close()
        raise SettingsError(f"Cannot listen on {host}:{port} ({exc.strerror}): choose another {chosen_by}.") from None
    bound.set_inheritable(True)
    return bound


def allow_listening_host(settings: Settings, host: str) -> Settings:
    """Return `settings` with `host`, the listening address, as an allowed host, unless `host` is a wildcard address."""
    if host in LOOPBACK_OF_WILDCARD:
        return settings
    return settings.model_copy(update={"allowed_hosts": (*settings.allowed_hosts, f"{_url_host(host)}:*")})


def log_unreachable_host(settings: Settings, host: str) -> None:
    """Log the setting that other machines need, if the service listens on all addresses without a public URL."""
    if host in LOOPBACK_OF_WILDCARD and settings.public_url is None:
        log.info(
            "Listening on all addresses. Callers on other machines get 421 until the host in their URL is in "
            "LUMA_MCP_ALLOWED_HOSTS or LUMA_MCP_PUBLIC_URL%s",
            LOCAL_LINKS if settings.backend == "sandbox" else "",
        )


def _base_url(host: str, listening: socket) -> str:
    """Return the URL of the socket for clients on this machine."""
    return f"http://{_url_host(LOOPBACK_OF_WILDCARD.get(host, host))}:{listening.getsockname()[1]}"


def _url_host(host: str) -> str:
    """Return `host` for a URL: an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host else host
