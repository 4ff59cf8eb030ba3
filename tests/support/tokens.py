"""Counting as models count."""

from functools import cache

from bpe_openai import Encoding, get_encoding


@cache
def _o200k() -> Encoding:
    return get_encoding("o200k_base")


def tokens(text: str) -> int:
    """Return how many o200k tokens `text` is."""
    return len(_o200k().encode(text))
