"""Purchases (submissions that cost money): idempotency keys, concurrency limits, callbacks and the list of tasks."""
