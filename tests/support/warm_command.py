"""One command as a fork of the process of `warm_commands`.

For shells: `python -I -S warm_command.py SOCKET ARGUMENT…` takes a tenth of the time of `luma-mcp ARGUMENT…`.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence

SECONDS = 60.0


def run_warm(
    path: str, arguments: Sequence[str], folder: str, env: Mapping[str, str], streams: Sequence[int] = (0, 1, 2)
) -> int:
    """Run a command with three standard streams, and return its exit status, within SECONDS. Raises TimeoutError."""
    request = json.dumps({"arguments": arguments, "folder": folder, "env": dict(env)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        socket.send_fds(connection, [request], list(streams))
        status: int = json.loads(connection.recv(100))
        return status


if __name__ == "__main__":
    sys.exit(run_warm(sys.argv[1], sys.argv[2:], os.getcwd(), os.environ))  # noqa: PTH109 - pathlib doubles the time of a start
