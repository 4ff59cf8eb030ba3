"""The format of team keys: `lmk_`, 32 random bytes in base62, and a checksum that detects typing errors."""

from app.domain.token_form import TokenForm

PREFIX = "lmk_"
RANDOM_BYTES = 32

_FORMAT = TokenForm(PREFIX, RANDOM_BYTES)

encode = _FORMAT.encode
"""Return the key with these 32 random bytes."""

is_well_formed = _FORMAT.is_well_formed
"""Return whether a text has the format of a key. Whether the key exists is not checked."""

hint = _FORMAT.hint
"""Return the abbreviation of a key that lists show: the prefix and the last four characters."""
