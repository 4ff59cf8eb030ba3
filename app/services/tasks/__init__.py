"""Reading tasks: cache, single flight, snapshots of running tasks, and the circuit breaker of the store."""
