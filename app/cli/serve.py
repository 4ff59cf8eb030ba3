"""Running the application under uvicorn: one process or several, drained before they stop."""

import asyncio
import logging
import os
import resource
import signal
import tempfile
from contextlib import ExitStack
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket

import uvicorn
from prometheus_client import CollectorRegistry, start_http_server
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from app.cli.process_tuning import tune_process
from app.composition import assemble
from app.local_secret import with_local_secret
from app.observability.logging import configure_logging
from app.observability.metrics import MULTIPROCESS_VARIABLE, registry_of_all_workers
from app.observability.tracing import export_spans
from app.persistence import prepare_database
from app.settings import Settings, SettingsError, load_settings, require_key, unknown_variables
from app.web.app import create_app
from app.web.connection.protocol import DisconnectAwareProtocol
from app.web.readiness import STOPPING

DRAIN_SECONDS = 60
"""How long calls in flight may take after SIGTERM; Kubernetes and compose are told to wait longer.

A purchase may wait 20 s for its place and 35 s for the backend; whoever waits for tasks is answered within moments.
"""

FILES_BESIDE_CONNECTIONS = 256
"""Open files beside the connections of callers: those to the backend and to Redis, the log, and the program's own."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - looked for, not listened on
"""The hosts that stand for all addresses, and for each the one at which this machine reaches itself."""

NO_LINKS_ELSEWHERE = (
    ", and the links to videos lead to this machine; for others, run the sandbox with LUMA_MCP_BACKEND=sandbox and "
    "LUMA_MCP_PUBLIC_URL"
)

WORKERS_WITHOUT_REDIS = (
    "Several workers need LUMA_MCP_REDIS_URL: without it each keeps a cache of its own, and does not hear of callbacks "
    "that reach another."
)

log = logging.getLogger(__name__)


def serve_processes(settings: Settings, *, host: str, port: int, workers: int, env_file: str | None) -> None:
    """Serve until told to stop; workers read their settings from `env_file` again.

    Raises SettingsError where several workers cannot share what they need.
    """
    require_key(settings, workers)
    if workers > 1 and settings.backend == "sandbox":
        raise SettingsError("The sandbox keeps its tasks in one process: run it with one worker.")
    if workers > 1 and settings.redis_url is None:
        raise SettingsError(WORKERS_WITHOUT_REDIS)
    configure_logging(settings.log_level, settings.log_format)
    prepare_metrics_folder()
    settings = with_local_secret(settings)
    asyncio.run(prepare_database(settings))
    allow_open_files(settings.connections + FILES_BESIDE_CONNECTIONS)
    for name in unknown_variables(env_file):
        log.warning("%s is not a setting and has no effect: is it misspelt? `luma-mcp check` lists the settings", name)
    say_who_is_answered(settings, host)
    settings = answering_under(settings, host)
    if workers > 1:
        _serve_many(settings, host=host, port=port, workers=workers, env_file=env_file)
    else:
        _serve_one(settings, host=host, port=port)


def allow_open_files(wanted: int) -> None:
    """Raise this process's limit of open files to `wanted`, as far as the system lets it; workers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        log.warning(
            "The system allows %d open files, and LUMA_MCP_CONNECTIONS needs %d: connections beyond that are not "
            "accepted. Raise the limit of open files (ulimit -n, LimitNOFILE), or lower the setting",
            most,
            wanted,
        )


def prepare_metrics_folder() -> None:
    """Let the folder in PROMETHEUS_MULTIPROC_DIR hold the files of living processes only; others would be added up.

    Raises SettingsError where the variable names no folder that can be written to.
    """
    if (name := os.environ.get(MULTIPROCESS_VARIABLE)) is None:
        return
    folder = Path(name)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SettingsError(
            f"{MULTIPROCESS_VARIABLE} names no folder that this process may write to: create it, or unset the "
            "variable, and a folder is made for you."
        )
    for file in folder.glob("*.db"):
        number = file.stem.rpartition("_")[2]
        if number.isdecimal() and not Path(f"/proc/{number}").exists():
            file.unlink(missing_ok=True)


def _serve_one(settings: Settings, *, host: str, port: int) -> None:
    config = _config(settings, host=host, port=port)
    listening = listening_socket(host, port)
    base_url = _base_url(host, listening)
    export_spans()
    assembly = assemble(settings, base_url=base_url)
    config.app = create_app(settings, assembly)
    if isinstance(settings.metrics, int):
        _serve_metrics(settings.metrics, host, assembly.metrics.registry)
    log.info("Serving MCP at %s/mcp (backend %s)", base_url, settings.backend)
    server = uvicorn.Server(config)
    # Until uvicorn takes signals over, these stop it. It raises the signal again once it has drained; by then there is
    # nothing left to do but to exit with 0.
    for number in STOPPING:
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    tune_process()
    server.run(sockets=[listening])


class _Workers(Multiprocess):
    """Starts workers with SIGINT blocked: one that is still importing would end with a traceback at Ctrl-C.

    `build_worker` unblocks it, where uvicorn handles the signal already.
    """

    def init_processes(self) -> None:
        """Start the workers, which inherit the mask of signals; a start of the tracker would unblock it."""
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().init_processes()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _serve_many(settings: Settings, *, host: str, port: int, workers: int, env_file: str | None) -> None:
    with ExitStack() as stack:
        if MULTIPROCESS_VARIABLE not in os.environ:
            os.environ[MULTIPROCESS_VARIABLE] = stack.enter_context(tempfile.TemporaryDirectory(prefix="luma-mcp-"))
        config = _config(settings, host=host, port=port, workers=workers)
        config.app = partial(build_worker, env_file, host)
        listening = listening_socket(host, port)
        if isinstance(settings.metrics, int) and (registry := registry_of_all_workers()) is not None:
            _serve_metrics(settings.metrics, host, registry)
        log.info("Serving MCP at %s/mcp with %d workers", _base_url(host, listening), workers)
        _Workers(config, sockets=[listening]).run()


def _serve_metrics(port: int, host: str, registry: CollectorRegistry) -> None:
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as exc:
        raise SettingsError(
            f"LUMA_MCP_METRICS: cannot listen on {host}:{port} ({exc.strerror}): choose a free port."
        ) from None


def build_worker(env_file: str | None, host: str = "127.0.0.1") -> ASGIApp:
    """Return the application of one worker among several, which reads the settings for itself."""
    settings = answering_under(load_settings(env_file), host)
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
        backlog=BACKLOG,
        loop="auto",
        http=DisconnectAwareProtocol,
        ws="none",
        lifespan="on",
    )


def listening_socket(host: str, port: int) -> socket:
    """Return a socket that listens at the address, for all workers. Raises SettingsError where it is taken.

    It names TCP outright: asyncio switches Nagle's algorithm off only then, and an answer in two writes would wait
    40 ms for the client's delayed acknowledgement.
    """
    bound = socket(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM, IPPROTO_TCP)
    bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)  # from here on nobody is refused: early callers wait until the application is up
    except OSError as exc:
        bound.close()
        raise SettingsError(f"Cannot listen on {host}:{port} ({exc.strerror}): choose another --port.") from None
    bound.set_inheritable(True)
    return bound


def answering_under(settings: Settings, host: str) -> Settings:
    """Return `settings` with `host`, which is listened on, among the hosts to answer; `0.0.0.0` names none."""
    if host in EVERYWHERE:
        return settings
    return settings.model_copy(update={"allowed_hosts": (*settings.allowed_hosts, f"{_in_url(host)}:*")})


def say_who_is_answered(settings: Settings, host: str) -> None:
    """Log which setting other machines need, where the service listens to them and has no address that they can use."""
    if host in EVERYWHERE and settings.public_url is None:
        log.info(
            "Listening on all addresses. Callers on other machines get 421 until the host in their URL is in "
            "LUMA_MCP_ALLOWED_HOSTS or LUMA_MCP_PUBLIC_URL%s",
            NO_LINKS_ELSEWHERE if settings.backend == "sandbox" else "",
        )


def _base_url(host: str, listening: socket) -> str:
    """Return an address at which this machine itself reaches the socket."""
    return f"http://{_in_url(EVERYWHERE.get(host, host))}:{listening.getsockname()[1]}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
