"""Interfaces of the services to the outside, with the meaning of failure in each."""
