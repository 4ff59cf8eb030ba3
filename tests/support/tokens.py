"""A count of LLM tokens, by OpenAI's encoding o200k_base."""

from functools import cache

from bpe_openai import Encoding, get_encoding


@cache
def _o200k() -> Encoding:
    return get_encoding("o200k_base")


def tokens(text: str) -> int:
    """Return the number of o200k_base tokens in `text`."""
    return len(_o200k().encode(text))
