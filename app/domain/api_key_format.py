"""How a key is written: `lmk_`, 32 random bytes in base62, and a checksum that tells typing errors and inventions."""

from app.domain.token_form import TokenForm

PREFIX = "lmk_"
RANDOM_BYTES = 32

_FORM = TokenForm(PREFIX, RANDOM_BYTES)

written = _FORM.written
"""Return the key that stands for 32 random bytes."""

is_well_formed = _FORM.is_well_formed
"""Return whether a text is written as a key is. Only the database tells if it is one."""

hint = _FORM.hint
"""Return the part of a key that lists show."""
