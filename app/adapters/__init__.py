"""One outside thing each: the backend, the stores, the callers."""
