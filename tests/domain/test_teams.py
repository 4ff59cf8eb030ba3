"""Validation of names, notes, time zones, scopes and durations, and the states of a key."""

from dataclasses import replace

import pytest

from app.domain.access import PASSTHROUGH_SCOPES, Scope
from app.domain.teams import (
    ApiKey,
    KeyState,
    parsed_duration,
    parsed_scopes,
    valid_name,
    valid_note,
    valid_timezone,
    written_scopes,
)

KEY = ApiKey("id", "member", "lmk_…", frozenset(Scope), "", is_blocked=False, is_stopped=False, created_at=100)


@pytest.mark.parametrize("name", ["a", "film", "Film crew 2", "映画", "anna@example.com", "x" * 64])
def test_valid_name_returns_a_valid_name_unchanged(name: str) -> None:
    assert valid_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " film",
        "film ",
        "fi\nlm",
        "fi\x00lm",
        "fi\u200blm",
        "x" * 65,
        "a\u2028b",
        "a\ufe0f",
        "a\U000e0101b",
        "\u3164",
    ],
)
def test_valid_name_raises_for_invisible_characters_outer_blanks_and_length(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 visible"):
        valid_name(name)


def test_valid_name_normalizes_to_nfc() -> None:
    assert valid_name("Zoe\u0308") == valid_name("Zo\u00eb") == "Zo\u00eb"
    assert valid_name("\u03b1\u0313\u0300\u0345" * 64) == "\u1f82" * 64  # no other normalization shortens more


def test_a_note_may_be_empty_and_its_length_is_limited() -> None:
    assert valid_note("") == ""
    for note in ("x" * 201, "a\nb", "a\U000e0101"):
        with pytest.raises(ValueError, match="200"):
            valid_note(note)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_valid_timezone_accepts_iana_names(name: str) -> None:
    assert valid_timezone(name) == name


@pytest.mark.parametrize(
    "name", ["", "Berlin", "europe/berlin", "../UTC", "/etc/localtime", "+01:00", "UTC\x00", "localtime", "Factory"]
)
def test_valid_timezone_raises_for_other_spellings(name: str) -> None:
    with pytest.raises(ValueError, match="Europe/Berlin"):
        valid_timezone(name)


def test_written_scopes_have_one_order() -> None:
    assert written_scopes(parsed_scopes("generate, read")) == "read,generate"
    assert parsed_scopes("read,generate") == PASSTHROUGH_SCOPES
    assert written_scopes(frozenset(Scope)) == "read,generate,admin"


@pytest.mark.parametrize("text", ["", "write", "read,", "READ", "read generate"])
def test_parsed_scopes_raises_for_an_unknown_scope(text: str) -> None:
    with pytest.raises(ValueError, match="read, generate, admin"):
        parsed_scopes(text)


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("24h", 86_400), ("90m", 5400), ("0", 0), ("0h", 0)])
def test_parsed_duration_returns_seconds(text: str, seconds: int) -> None:
    assert parsed_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1w", "30 d", "3651d", "999999999d", "٣d", "1h30m"])
def test_parsed_duration_raises_for_other_text(text: str) -> None:
    with pytest.raises(ValueError, match="30d, 24h or 90m"):
        parsed_duration(text)


def test_state_of_a_key() -> None:
    assert KEY.state(100) is KeyState.ACTIVE
    assert replace(KEY, expires_at=200.0).state(199.9) is KeyState.ACTIVE
    assert replace(KEY, expires_at=200.0).state(200) is KeyState.EXPIRED
    assert replace(KEY, is_blocked=True).state(100) is KeyState.BLOCKED
    assert replace(KEY, is_blocked=True, revoked_at=100.0).state(100) is KeyState.REVOKED
    assert replace(KEY, is_stopped=True).state(100) is KeyState.ACTIVE
