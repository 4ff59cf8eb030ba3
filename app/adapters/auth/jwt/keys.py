"""The public keys in a JSON Web Key Set (RFC 7517), of an issuer or of an OAuth client.

A key set may be a stranger's, so its members are checked as texts before a key is built from them. A private key is
never built: recovering the primes of an RSA key takes time that grows with the cube of its length.
"""

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

MAX_EXPONENT_LENGTH = 6
"""Maximum length, in characters, of an RSA exponent, so that it is below 2**32. Each bit makes verification slower."""

_NUMBERS: Mapping[str, Sequence[str]] = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
"""The members with the public numbers of a key, by its type."""

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""The members of private and symmetric keys (RFC 7518, section 6)."""

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
        entries = [(key.id, sorted(key.algorithms), _bytes_of(key.key)) for key in self._keys]
        self.digest = hashlib.sha256(repr(entries).encode()).digest()
        """A hash of the keys in their order, which changes when they change."""

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._keys)

    def named(self, key_id: str | None) -> list[VerificationKey]:
        """Return the keys with this `kid`; all keys if `key_id` is None."""
        return [key for key in self._keys if key_id is None or key.id == key_id]


def read_key_set(document: object) -> KeySet:
    """Return the usable keys in a JSON Web Key Set. Others, such as encryption or symmetric keys, are left out."""
    return KeySet([key for jwk in public_jwks(document) if (key := _read_key(jwk)) is not None])


def find_key(document: object, key_id: str | None, algorithm: str) -> VerificationKey | None:
    """Return the only key in a key set with this `kid` and algorithm; if `key_id` is None, the only one that fits.

    No other key of the set is built. Return None if no key fits, or several do.
    """
    fitting = [
        jwk
        for jwk in public_jwks(document)
        if algorithm in _algorithms_of(jwk) and (key_id is None or jwk.get("kid") == key_id)
    ]
    return _read_key(fitting[0]) if len(fitting) == 1 else None


def public_jwks(document: object) -> list[dict[str, str]]:
    """Return those keys in a key set that may verify signatures, each without unused members. No key is built."""
    keys = document.get("keys") if isinstance(document, dict) else None
    jwks = keys[:MAX_KEYS] if isinstance(keys, list) else []
    return [public for jwk in jwks if isinstance(jwk, dict) and (public := _public_part(jwk)) is not None]


def _bytes_of(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read_key(jwk: dict[str, str]) -> VerificationKey | None:
    algorithms = _algorithms_of(jwk)
    try:
        key = PyJWK(jwk, algorithm=min(algorithms)).key
    except (PyJWTError, ValueError, TypeError, OverflowError):
        return None
    if not isinstance(key, PublicKey):
        return None
    if isinstance(key, RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return None
    return VerificationKey(jwk.get("kid"), algorithms, key)


def _public_part(jwk: Mapping[str, Any]) -> dict[str, str] | None:
    """Return `kty`, `crv`, `alg`, `kid` and the public numbers of a key; None if the key is not usable.

    A key that contains its private part is not usable, because whoever can read it can sign.
    """
    key_type = jwk.get("kty")
    if not isinstance(key_type, str) or key_type not in _NUMBERS or not _is_for_signatures(jwk):
        return None
    names = ("kty", *(name for name in ("crv", "alg", "kid") if jwk.get(name) is not None), *_NUMBERS[key_type])
    public = {
        name: value for name in names if isinstance(value := jwk.get(name), str) and len(value) <= _max_length(name)
    }
    return public if len(public) == len(names) and _algorithms_of(public) else None


def _max_length(member: str) -> int:
    """Return the maximum length, in characters, of a member."""
    return {"kid": MAX_KEY_ID_LENGTH, "e": MAX_EXPONENT_LENGTH}.get(member, MAX_MEMBER_LENGTH)


def _is_for_signatures(jwk: Mapping[str, Any]) -> bool:
    """Return whether the key may verify signatures, and does not contain its private part."""
    operations = jwk.get("key_ops", ["verify"])
    may_verify = jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    return may_verify and not _PRIVATE & jwk.keys()


def _algorithms_of(jwk: Mapping[str, str]) -> frozenset[str]:
    """Return the accepted algorithms for the key: those of its type and curve, limited to its `alg` if it has one."""
    fitting = RSA_ALGORITHMS if jwk.get("kty") == "RSA" else frozenset()
    if jwk.get("kty") in ("EC", "OKP"):
        fitting = frozenset(algorithm for curve, algorithm in CURVES.items() if curve == jwk.get("crv"))
    declared = jwk.get("alg")
    return fitting if declared is None else frozenset(algorithm for algorithm in fitting if algorithm == declared)
