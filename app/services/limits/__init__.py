"""Bounds on the memory, places and calls of each caller, of all callers, and of callers not yet accepted."""
