"""How a word on a key is written: in the store with a mark, and on the channel, whose messages are marked, without."""

from pydantic import TypeAdapter, ValidationError

from app.domain.reservation import Reservation, unreadable
from app.ports import Signing

_WORD = TypeAdapter(Reservation)


class LedgerFormat:
    """Writes and reads words. The mark covers the key: others who write to the store can make none up."""

    def __init__(self, signing: Signing) -> None:
        """Mark with `signing`."""
        self._signing = signing

    def pack(self, word: Reservation) -> bytes:
        """Return the bytes to keep, the same ones each time."""
        return self._signing.sign(word.filed_under, to_message(word))

    def unpack(self, key: str, kept: bytes) -> Reservation:
        """Return the word that was kept under `key`; one that was made up, changed or moved tells nothing."""
        body = self._signing.verified(key, kept)
        return unreadable(key) if body is None else unmarked(key, body)


def unmarked(key: str, kept: bytes) -> Reservation:
    """Return the word that stands under `key` without a mark, as release 1.0 wrote it."""
    word = from_message(kept)
    return word if word is not None and word.filed_under == key else unreadable(key)


def to_message(word: Reservation) -> bytes:
    """Return the message that tells `word`."""
    return _WORD.dump_json(word, exclude_none=True, exclude_defaults=True)


def from_message(message: bytes) -> Reservation | None:
    """Return the word that a message tells; None for one about something else."""
    try:
        return _WORD.validate_json(message)
    except ValidationError:
        return None
