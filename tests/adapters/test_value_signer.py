"""Marks: they count at their place, under any of the keys that the signer knows, and digests come one for each key."""

from app.adapters.value_signer import Signer

OLD, NEW = "an older key, for tests alone", "a newer key, for tests alone"


def test_a_mark_counts_at_its_place_alone() -> None:
    signed = Signer(OLD).sign("place", b"body")
    assert Signer(OLD).verified("place", signed) == b"body"
    assert Signer(OLD).verified("another", signed) is None
    assert Signer(NEW).verified("place", signed) is None
    assert Signer().verified("place", signed) is None


def test_a_mark_of_each_known_key_counts_and_the_first_key_marks() -> None:
    both = Signer(NEW, OLD)
    assert both.verified("place", Signer(OLD).sign("place", b"body")) == b"body"
    assert Signer(NEW).verified("place", both.sign("place", b"body")) == b"body"
    assert Signer(OLD).verified("place", both.sign("place", b"body")) is None


def test_there_is_a_digest_for_each_key_the_current_one_first() -> None:
    assert Signer(NEW, OLD).digests("key", "text") == (
        *Signer(NEW).digests("key", "text"),
        *Signer(OLD).digests("key", "text"),
    )
