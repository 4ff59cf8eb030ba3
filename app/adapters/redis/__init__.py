"""The cache store, coordination and rate limiter for replicas that share a Redis."""
