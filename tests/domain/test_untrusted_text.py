"""Sanitized untrusted text: one bounded line without invisible characters, and plain ids."""

import pytest

from app.domain.untrusted_text import MAX_ID_LENGTH, is_plain_id, visible_line

INVISIBLE = {
    "newline": "\n",
    "carriage return": "\r",
    "tab": "\t",
    "line separator": "\u2028",
    "null": "\x00",
    "escape": "\x1b",
    "C1 control": "\x9b",
    "zero-width space": "\u200b",
    "direction override": "\u202e",
    "direction isolate": "\u2066",
    "byte order mark": "\ufeff",
    "tag": "\U000e0041",
    "variation selector": "\ufe0f",
    "variation selector supplement": "\U000e0100",
    "filler": "\u3164",
    "Hangul initial filler": "\u115f",
    "Hangul medial filler": "\u1160",
    "halfwidth filler": "\uffa0",
    "Khitan filler": "\U00016fe4",
    "braille blank": "\u2800",
    "ideographic half fill space": "\u303f",
    "object replacement": "\ufffc",
    "hieroglyphic blank": "\U00013441",
    "null notehead": "\U0001d159",
    "sign-writing space": "\U0001da7f",
    "combining grapheme joiner": "\u034f",
    "half of a surrogate pair": "\ud83d",
    "private use": "\ue000",
}


@pytest.mark.parametrize("character", INVISIBLE.values(), ids=INVISIBLE)
def test_visible_line_drops_invisible_characters(character: str) -> None:
    line = visible_line(f"A fox{character}runs", 100)
    assert line in ("A fox runs", "A foxruns")
    assert not is_plain_id(f"task{character}id")


def test_visible_line_keeps_text_of_any_script() -> None:
    assert visible_line("Füchse, 狐, 🦊: 100 %", 100) == "Füchse, 狐, 🦊: 100 %"


@pytest.mark.parametrize("longest", [10, 100])
@pytest.mark.parametrize("text", ["a" * 10_000, "\n" * 10_000 + "a", "狐" * 10_000, "\u200b" * 500 + "a" * 20])
def test_visible_line_truncates_with_an_ellipsis(text: str, longest: int) -> None:
    line = visible_line(text, longest)
    assert len(line) <= longest
    assert line.endswith("…")


def test_visible_line_does_not_change_text_that_fits() -> None:
    assert visible_line("a" * 100, 100) == "a" * 100


@pytest.mark.parametrize("value", ["a", "50fc6182-fa86-4c7d-ac12-2fa27ec2f151", "a" * MAX_ID_LENGTH, "A_b:c.d/e=~"])
def test_is_plain_id_accepts_visible_ascii(value: str) -> None:
    assert is_plain_id(value)


@pytest.mark.parametrize("value", ["", " ", "a b", "é", "a" * (MAX_ID_LENGTH + 1), "a\n", "狐"])
def test_is_plain_id_refuses_other_text(value: str) -> None:
    assert not is_plain_id(value)
