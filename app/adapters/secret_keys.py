"""The secret keys of the service. The first one signs and seals; all verify and unseal, so that keys can be rotated."""

import secrets as random


def key_bytes(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    """Return the keys as bytes. If there are none, return a random key, which only this process has."""
    return tuple(secret.encode() for secret in secrets) or (random.token_bytes(32),)
