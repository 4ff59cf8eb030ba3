"""The public keys of an issuer, from its JSON Web Key Set (RFC 7517)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK, PyJWTError

RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
CURVES: Mapping[str, str] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
"""The algorithm of each curve."""

ALGORITHMS = RSA_ALGORITHMS.union(CURVES.values())
"""The accepted algorithms. All are asymmetric: with an HMAC, everybody who can read the key set could sign tokens."""

MAX_KEYS = 64
"""Keys of a key set that are read. Further ones are ignored."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""Longest RSA modulus. With a longer one, verification would take milliseconds for each token."""

MAX_KEY_ID_LENGTH = 200
"""Maximum length, in characters, of a `kid`."""

MAX_MEMBER_LENGTH = 2_000
"""Maximum length, in characters, of a number in a key. A modulus of MAX_RSA_BITS has 1,366."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, its `kid` (None if it has none), and the algorithms with which it may be used."""

    id: str | None
    algorithms: frozenset[str]
    key: PublicKey


class KeySet:
    """The keys of an issuer that can verify signatures."""

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        """Hold `keys` in the given order."""
        self._keys = tuple(keys)
        written = [(key.id, sorted(key.algorithms), _bytes_of(key.key)) for key in self._keys]
        self.digest = hashlib.sha256(repr(written).encode()).digest()
        """Equal for equal sets."""

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._keys)

    def named(self, key_id: str | None) -> list[VerificationKey]:
        """Return the keys with this `kid`; all keys if `key_id` is None."""
        return [key for key in self._keys if key_id is None or key.id == key_id]


def read_key_set(document: object) -> KeySet:
    """Return the usable keys in a JSON Web Key Set. Others, such as encryption or symmetric keys, are left out."""
    found = document.get("keys") if isinstance(document, dict) else None
    jwks = found[:MAX_KEYS] if isinstance(found, list) else []
    return KeySet([key for jwk in jwks if isinstance(jwk, dict) and (key := _read_key(jwk)) is not None])


def _bytes_of(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read_key(jwk: dict[str, Any]) -> VerificationKey | None:
    key_id, algorithms = jwk.get("kid"), _algorithms_of(jwk)
    if not algorithms or not (key_id is None or (isinstance(key_id, str) and len(key_id) <= MAX_KEY_ID_LENGTH)):
        return None
    try:
        key = PyJWK(jwk, algorithm=min(algorithms)).key
    except (PyJWTError, ValueError, TypeError, OverflowError):
        return None
    if not isinstance(key, PublicKey):
        return None
    if isinstance(key, RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return None
    return VerificationKey(key_id, algorithms, key)


def _is_for_signatures(jwk: dict[str, Any]) -> bool:
    """Return whether the key may verify signatures, and does not contain its private part (`d`)."""
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations and "d" not in jwk


def _algorithms_of(jwk: dict[str, Any]) -> frozenset[str]:
    """Return the accepted algorithms for the key: those of its type and curve, limited to its `alg` if it has one."""
    numbers = [jwk.get(name) for name in ("n", "e", "x", "y")]
    is_long = any(isinstance(number, str) and len(number) > MAX_MEMBER_LENGTH for number in numbers)
    if is_long or not _is_for_signatures(jwk):
        return frozenset()
    fitting = RSA_ALGORITHMS if jwk.get("kty") == "RSA" else frozenset()
    if jwk.get("kty") in ("EC", "OKP"):
        fitting = frozenset(algorithm for curve, algorithm in CURVES.items() if curve == jwk.get("crv"))
    named = jwk.get("alg")
    return fitting if named is None else frozenset(one for one in fitting if one == named)
