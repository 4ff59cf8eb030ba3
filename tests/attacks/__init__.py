"""Denial-of-service attacks on a real service process, and what each costs the service and an honest caller."""
