"""The cache and the coordination of a single process."""
