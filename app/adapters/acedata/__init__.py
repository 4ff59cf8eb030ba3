"""AceDataCloud as a video backend: its HTTP API, JSON, error codes, and documented limits and prices."""
