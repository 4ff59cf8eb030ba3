"""Where the reservation of an idempotency key is kept, and what stands there for what was bought."""

import hashlib
from dataclasses import dataclass

from app.ports import Signing
from app.services.key_space import KeySpace


@dataclass(frozen=True, slots=True)
class Claim:
    """What a caller wants under which key; `fingerprint` stands for the tool and its arguments."""

    tenant: str
    idempotency_key: str
    fingerprint: str
    retry_unknown: bool = False


class ReservationKeys:
    """Names reservations without showing what callers wrote.

    Keys and prompts are short texts, so whoever reads the store could guess them from a plain hash.
    """

    def __init__(self, keys: KeySpace, signing: Signing) -> None:
        """Keep reservations among `keys`."""
        self._keys = keys
        self._signing = signing

    def key(self, claim: Claim) -> str:
        """Return where the reservation is kept."""
        digest = self._signing.digest("idempotency key", claim.idempotency_key)
        return self._keys.key(claim.tenant, "reservation:2", digest)

    def fingerprint(self, claim: Claim) -> str:
        """Return what stands in the reservation for the tool and its arguments."""
        return self._signing.digest("fingerprint", claim.fingerprint)


def key_of_earlier_release(claim: Claim) -> str:
    """Return where releases before the prefix kept the reservation, which lives for a day."""
    digest = hashlib.sha256(claim.idempotency_key.encode()).hexdigest()
    return f"{{{claim.tenant}}}:reservation:1:{digest[:40]}"
