"""Free ports for servers that start some time after their port is chosen."""

import random
import socket

LOWEST, HIGHEST = 20_000, 32_000
"""Below the ephemeral range (32768 and up on Linux), so that no outgoing connection takes a port before its server."""

_given: set[int] = set()


def low_port() -> int:
    """Return a free port that this process has not returned before. Raises OSError if it finds none."""
    for _ in range(1_000):
        port = random.randrange(LOWEST, HIGHEST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise OSError(f"No port between {LOWEST} and {HIGHEST} is free.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
