"""A long run under everything at once: what grows, and what is lost, over many faults in a row."""
