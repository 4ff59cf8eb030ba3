"""Marks: they count at their place, under any of the keys that the signer knows, and digests come one for each key."""

from app.adapters.value_signer import HmacSigner

OLD, NEW = "an older key, for tests alone", "a newer key, for tests alone"


def test_a_mark_counts_at_its_place_alone() -> None:
    signed = HmacSigner(OLD).sign("place", b"body")
    assert HmacSigner(OLD).verified("place", signed) == b"body"
    assert HmacSigner(OLD).verified("another", signed) is None
    assert HmacSigner(NEW).verified("place", signed) is None
    assert HmacSigner().verified("place", signed) is None


def test_a_mark_of_each_known_key_counts_and_the_first_key_marks() -> None:
    both = HmacSigner(NEW, OLD)
    assert both.verified("place", HmacSigner(OLD).sign("place", b"body")) == b"body"
    assert HmacSigner(NEW).verified("place", both.sign("place", b"body")) == b"body"
    assert HmacSigner(OLD).verified("place", both.sign("place", b"body")) is None


def test_there_is_a_digest_for_each_key_the_current_one_first() -> None:
    assert HmacSigner(NEW, OLD).digests("key", "text") == (
        *HmacSigner(NEW).digests("key", "text"),
        *HmacSigner(OLD).digests("key", "text"),
    )
