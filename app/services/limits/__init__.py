"""Limits of memory, concurrency and call rates: per caller, in total, and for all tokens not accepted by the backend.

Anybody can make up tokens. All tokens that the backend has not accepted lately therefore share a part of each resource.
"""
