"""Fault injection: two replicas under load from many tokens, and a fake backend with known answers."""
