"""The service's secret keys. The first one signs and seals; all of them verify and unseal, for key rotation."""

import secrets as random


def key_bytes(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the keys as bytes; if there are none, one random key that only this process has."""
    return tuple(secret.encode() for secret in secrets) or (random.token_bytes(32),)
