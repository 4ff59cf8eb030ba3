"""Limits on memory, concurrency and calls: per caller, in total, and for all tokens that the backend has not accepted.

Anybody can invent tokens. All tokens that the backend has not accepted lately therefore share a part of each resource.
"""
