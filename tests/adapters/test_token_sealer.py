"""Sealed texts are unsealed only for their purpose and audience."""

import pytest

from app.adapters.token_sealer import TokenSealer

KEY = "a key for tests that is long enough: 48 bytes or so"
CONTENT = {"id": "task", "created": 1.5}


def test_a_text_can_be_unsealed_by_every_replica_with_the_key() -> None:
    assert TokenSealer(KEY).unseal("task", TokenSealer(KEY).seal("task", CONTENT, "tenant-a"), ["tenant-a"]) == CONTENT


def test_sealed_texts_reveal_nothing_and_are_never_equal() -> None:
    first, second = TokenSealer(KEY).seal("task", CONTENT), TokenSealer(KEY).seal("task", CONTENT)
    assert first != second
    assert "task" not in first
    assert first.replace("-", "").replace("_", "").isalnum()


def test_a_text_cannot_be_unsealed_for_another_purpose_audience_or_key() -> None:
    sealed = TokenSealer(KEY).seal("task", CONTENT, "tenant-a")
    assert TokenSealer(KEY).unseal("callback", sealed, ["tenant-a"]) is None
    assert TokenSealer(KEY).unseal("task", sealed, ["tenant-b"]) is None
    assert TokenSealer(KEY + "!").unseal("task", sealed, ["tenant-a"]) is None
    assert TokenSealer().unseal("task", TokenSealer().seal("task", CONTENT)) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "A" * 5000, "é", "a b", "====", "$$$$", "\n"])
def test_a_text_that_was_not_sealed_cannot_be_unsealed(text: str) -> None:
    assert TokenSealer(KEY).unseal("task", text) is None


def test_a_changed_character_is_detected() -> None:
    sealed = TokenSealer(KEY).seal("task", CONTENT)
    for place in range(len(sealed)):
        changed = "B" if sealed[place] == "A" else "A"
        assert TokenSealer(KEY).unseal("task", sealed[:place] + changed + sealed[place + 1 :]) is None


@pytest.mark.parametrize("pad", ["", "x", "xx"])
def test_a_sealed_text_has_a_single_valid_encoding(pad: str) -> None:
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


def test_every_secret_key_unseals() -> None:
    old, new = KEY, KEY[::-1]
    sealed = TokenSealer(old).seal("task", CONTENT, "tenant under old")
    names = ["tenant under new", "tenant under old"]
    assert TokenSealer(new, old).unseal("task", sealed, names) == CONTENT
    assert TokenSealer(new, old).unseal("task", sealed, ["tenant under old", "tenant under new"]) is None
    assert TokenSealer(old).unseal("task", TokenSealer(new, old).seal("task", CONTENT), [""]) is None
