"""Sealed texts open only for what and whom they were sealed for."""

import pytest

from app.adapters.token_sealer import TokenSealer

KEY = "a key for tests that is long enough: 48 bytes or so"
CONTENT = {"id": "task", "created": 1.5}


def test_what_was_sealed_opens_on_every_replica_with_the_key() -> None:
    assert TokenSealer(KEY).unseal("task", TokenSealer(KEY).seal("task", CONTENT, "tenant-a"), ["tenant-a"]) == CONTENT


def test_it_tells_nothing_and_is_never_the_same_twice() -> None:
    first, second = TokenSealer(KEY).seal("task", CONTENT), TokenSealer(KEY).seal("task", CONTENT)
    assert first != second
    assert "task" not in first
    assert first.replace("-", "").replace("_", "").isalnum()


def test_it_opens_for_no_other_purpose_audience_or_key() -> None:
    sealed = TokenSealer(KEY).seal("task", CONTENT, "tenant-a")
    assert TokenSealer(KEY).unseal("callback", sealed, ["tenant-a"]) is None
    assert TokenSealer(KEY).unseal("task", sealed, ["tenant-b"]) is None
    assert TokenSealer(KEY + "!").unseal("task", sealed, ["tenant-a"]) is None
    assert TokenSealer().unseal("task", TokenSealer().seal("task", CONTENT)) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "A" * 5000, "é", "a b", "====", "$$$$", "\n"])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    assert TokenSealer(KEY).unseal("task", text) is None


def test_a_changed_character_is_noticed() -> None:
    sealed = TokenSealer(KEY).seal("task", CONTENT)
    for place in range(len(sealed)):
        changed = "B" if sealed[place] == "A" else "A"
        assert TokenSealer(KEY).unseal("task", sealed[:place] + changed + sealed[place + 1 :]) is None


@pytest.mark.parametrize("pad", ["", "x", "xx"])
def test_a_text_opens_in_one_spelling_only(pad: str) -> None:
    sealed = TokenSealer(KEY).seal("task", {"id": pad})
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    endings = [sealed[:-1] + last for last in alphabet if last != sealed[-1]]
    others = [
        *endings,
        *(sealed + "=" * count for count in (1, 2, 3)),
        sealed.replace("-", "+").replace("_", "/") + "=",
    ]
    assert [other for other in others if TokenSealer(KEY).unseal("task", other) is not None] == []
    assert TokenSealer(KEY).unseal("task", sealed) == {"id": pad}


def test_it_opens_what_was_sealed_under_another_of_its_keys() -> None:
    old, new = KEY, KEY[::-1]
    sealed = TokenSealer(old).seal("task", CONTENT, "tenant under old")
    names = ["tenant under new", "tenant under old"]
    assert TokenSealer(new, old).unseal("task", sealed, names) == CONTENT
    assert TokenSealer(new, old).unseal("task", sealed, ["tenant under old", "tenant under new"]) is None
    assert TokenSealer(old).unseal("task", TokenSealer(new, old).seal("task", CONTENT), [""]) is None
