"""Sealed values: opened only for their place, under any secret key, and without revealing their content."""

import pytest

from app.adapters.value_sealer import AesValueSealer

OLD, NEW = "an older key, for tests alone", "a newer key, for tests alone"


def opened(sealer: AesValueSealer, place: str, value: bytes) -> bytes | None:
    [body] = sealer.unseal_each([(place, value)])
    return body


def test_a_value_can_be_opened_only_for_its_place() -> None:
    sealed = AesValueSealer(OLD).seal("place", b"A private platypus")
    assert opened(AesValueSealer(OLD), "place", sealed) == b"A private platypus"
    assert opened(AesValueSealer(OLD), "another", sealed) is None
    assert opened(AesValueSealer(NEW), "place", sealed) is None
    assert opened(AesValueSealer(), "place", sealed) is None
    assert b"platypus" not in sealed


def test_every_secret_key_opens_values_and_the_first_seals() -> None:
    both = AesValueSealer(NEW, OLD)
    assert opened(both, "place", AesValueSealer(OLD).seal("place", b"body")) == b"body"
    assert opened(AesValueSealer(NEW), "place", both.seal("place", b"body")) == b"body"
    assert opened(AesValueSealer(OLD), "place", both.seal("place", b"body")) is None


@pytest.mark.parametrize("cut", [0, 1, 12, 27, 28, 31])
def test_a_truncated_or_modified_value_cannot_be_opened(cut: int) -> None:
    sealer = AesValueSealer(OLD)
    sealed = sealer.seal("place", b"body")
    assert opened(sealer, "place", sealed[:cut]) is None
    changed = sealed[:cut] + bytes([sealed[cut] ^ 1]) + sealed[cut + 1 :]
    assert opened(sealer, "place", changed) is None


def test_equal_values_are_sealed_differently() -> None:
    sealer = AesValueSealer(OLD)
    assert sealer.seal("place", b"body") != sealer.seal("place", b"body")
