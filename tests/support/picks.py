"""Choices among the things that a random history has made."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

PICKS = st.integers(0, 59)
"""A choice. Unlike `sampled_from` of what a history has made, it draws the same values if that differs between runs.

Real processes and databases decide the order of two calls at once, and Hypothesis refuses draws that depend on it.
"""


def picked(choices: Sequence[T], pick: int) -> T:
    """Return one of `choices`, which are not empty."""
    return choices[pick % len(choices)]
