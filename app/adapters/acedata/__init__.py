"""AceDataCloud as a video backend: its HTTP, its JSON, its error codes, and what it says of itself."""
