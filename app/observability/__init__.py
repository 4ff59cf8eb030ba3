"""Logging, Prometheus metrics and optional OpenTelemetry traces."""
