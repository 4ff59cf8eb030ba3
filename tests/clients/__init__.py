"""Real client programs against the service: see `__main__.py`."""
