"""Interfaces between the services and the outside world, and the exceptions that each may raise."""
