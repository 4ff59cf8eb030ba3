"""The cache and the coordination of replicas that share a Redis."""
