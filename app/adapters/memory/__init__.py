"""Implementations of the cache store and of coordination for a single process, without Redis."""
