"""Adapters to the outside world: the video backend, Redis, the database, authentication and cryptography."""
