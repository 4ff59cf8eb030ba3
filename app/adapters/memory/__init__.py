"""The cache store, coordination and rate limiter of a single process, without Redis."""
