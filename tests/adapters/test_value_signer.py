"""Signatures: valid for their place, under any secret key. Digests: one for each secret key."""

import hashlib

from app.adapters.value_signer import HmacSigner

OLD, NEW = "an older key, for tests alone", "a newer key, for tests alone"


def test_a_signature_is_valid_only_for_its_place() -> None:
    signed = HmacSigner(OLD).sign("place", b"body")
    assert HmacSigner(OLD).verified("place", signed) == b"body"
    assert HmacSigner(OLD).verified("another", signed) is None
    assert HmacSigner(NEW).verified("place", signed) is None
    assert HmacSigner().verified("place", signed) is None


def test_every_secret_key_verifies_and_the_first_signs() -> None:
    both = HmacSigner(NEW, OLD)
    assert both.verified("place", HmacSigner(OLD).sign("place", b"body")) == b"body"
    assert HmacSigner(NEW).verified("place", both.sign("place", b"body")) == b"body"
    assert HmacSigner(OLD).verified("place", both.sign("place", b"body")) is None


def test_digests_are_keyed_so_that_short_texts_cannot_be_guessed_from_them() -> None:
    [mine], [other] = HmacSigner(NEW).digests("key", "a"), HmacSigner(OLD).digests("key", "a")
    assert mine != other
    assert mine not in {hashlib.sha256(text).hexdigest() for text in (b"a", b"keya", b"key:a")}


def test_there_is_a_digest_for_each_key_the_current_one_first() -> None:
    assert HmacSigner(NEW, OLD).digests("key", "text") == (
        *HmacSigner(NEW).digests("key", "text"),
        *HmacSigner(OLD).digests("key", "text"),
    )
