"""The service's secret keys: the first one makes what is handed out and stored, and all of them are recognised."""

import secrets as random


def key_bytes(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the keys as bytes; without any, one that this process alone knows."""
    return tuple(secret.encode() for secret in secrets) or (random.token_bytes(32),)
