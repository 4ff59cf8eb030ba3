"""Implementations of the cache store and of coordination for replicas that share a Redis."""
