"""Logs, metrics and optional traces."""
