"""A process that has imported `app.cli`, and forks once for each command: a start takes milliseconds, not a second.

Run as `python -m tests.support.warm_commands SOCKET`. Each connection to the socket brings one request: JSON with
`arguments`, `folder` and `env`, and the three standard streams as descriptors. The answer is the exit status as JSON.
"""

import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback

from app.cli import main

MAX_REQUEST_BYTES = 1 << 18
MODULES = ("app.cli.check", "app.cli.serve", "app.cli.stdio", "app.composition.application", "app.adapters.sql.engine")


def serve(path: str) -> list[str]:
    """Answer requests in the parent, until it is killed. Return the arguments of one command in each child."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the children that wait for commands are nobody's business
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    return _command(connection)


def _command(connection: socket.socket) -> list[str]:
    """Fork once more: the parent reports the status of the child, which runs the command."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, streams, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 3)
    request = json.loads(data)
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(pid, 0)
        connection.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    arguments: list[str] = request["arguments"]
    return arguments


def _status_of_main() -> int:
    """Run the command in sys.argv, and return its exit status."""
    try:
        main()
    except SystemExit as exc:
        if isinstance(exc.code, int):
            return exc.code
        if exc.code is not None:
            sys.stderr.write(f"{exc.code}\n")  # as the interpreter does
        return exc.code is not None
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    sys.argv = ["luma-mcp", *serve(sys.argv[1])]
    status = _status_of_main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the end of an interpreter with so many modules takes longer than most commands
