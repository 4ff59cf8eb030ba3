"""The format of team keys: length, checksum, and detection of mistyped keys."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.api_key_format import encode, hint, is_well_formed

KEY = encode(bytes(range(32)))


@given(st.binary(min_size=32, max_size=32))
def test_every_key_is_well_formed(random: bytes) -> None:
    key = encode(random)
    assert re.fullmatch(r"lmk_[0-9A-Za-z]{49}", key)
    assert is_well_formed(key)


@pytest.mark.parametrize("random", [bytes(32), b"\xff" * 32])
def test_the_smallest_and_the_largest_key_have_53_characters(random: bytes) -> None:
    assert len(encode(random)) == 53
    assert is_well_formed(encode(random))


def test_the_format_is_unchanged() -> None:
    assert encode(bytes(32)) == "lmk_00000000000000000000000000000000000000000003O9xIA"
    assert KEY == "lmk_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf3EfgbN"


@given(st.integers(0, 52), st.sampled_from("0aZ_-é "))
def test_a_key_with_a_changed_character_is_not_well_formed(position: int, character: str) -> None:
    changed = KEY[:position] + character + KEY[position + 1 :]
    assert is_well_formed(changed) is (changed == KEY)


@pytest.mark.parametrize(
    "text", ["", "lmk_", KEY[:-1], KEY + "0", f"{KEY}\n", KEY.upper(), KEY[4:], f" {KEY}", "lmk_" + "é" * 49]
)
def test_other_text_is_not_well_formed(text: str) -> None:
    assert not is_well_formed(text)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_written_raises_for_another_number_of_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32"):
        encode(bytes(size))


def test_a_hint_shows_the_last_four_characters() -> None:
    assert hint(KEY) == f"lmk_…{KEY[-4:]}"
