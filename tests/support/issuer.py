"""An OpenID issuer in a process of its own, and the tokens that it signs."""

import json
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.support.issuer_app import KEY_SET, METADATA

AUDIENCE = "https://luma.example.com/mcp"
"""The audience of a token by default: the service at the public URL https://luma.example.com."""

_NUMBERS = count(1)


@dataclass(frozen=True)
class Realm:
    """One issuer of the process. `issuer` is its URL."""

    issuer: str
    _control: str
    _http: httpx.Client

    def token(self, now: float, *, key: str = "rsa-1", header: dict[str, Any] | None = None, **changes: object) -> str:
        """Return a token for anna of the team film, valid for an hour from `now`.

        `changes` are other claims, None for one that is left out; `header` adds to the header likewise.
        """
        return self.signed(self.claims(now, **changes), key=key, header=header)

    def claims(self, now: float, **changes: object) -> dict[str, Any]:
        """Return the claims of such a token."""
        usual = {
            "iss": self.issuer,
            "sub": "anna-7",
            "aud": AUDIENCE,
            "iat": int(now),
            "exp": int(now) + 3600,
            "scope": "openid read generate",
            "preferred_username": "anna",
            "team": "film",
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def signed(self, claims: dict[str, Any], *, key: str = "rsa-1", header: dict[str, Any] | None = None) -> str:
        """Return a token with exactly these claims."""
        return str(self._asked("token", claims=claims, key=key, header=header or {})["token"])

    def add_key(self, key: str, algorithm: str = "ES256") -> None:
        """Let the issuer publish a new key, and sign with it where a token asks for it."""
        self._asked("add_key", key=key, algorithm=algorithm)

    def withdraw_key(self, key: str) -> None:
        """Take a key out of the key set."""
        self._asked("withdraw_key", key=key)

    def publish(self, jwk: dict[str, Any]) -> None:
        """Put a key into the key set, whatever it is."""
        self._asked("publish", jwk=jwk)

    def fail(self, **faults: object) -> None:
        """Set the faults of the issuer's documents, as `issuer_app` reads them; none ends all."""
        self._asked("faults", **faults)

    def login(self, now: float, *, key: str = "rsa-1", header: dict[str, Any] | None = None, **changes: object) -> None:
        """Let anna of the team film be logged in, with these changes of the claims in her ID token.

        A claim of None is left out; `aud` and `nonce` are those of the sign-in unless they are changed.
        """
        usual = {"aud": None, "scope": None, "email": "anna@example.com"}
        claims = self.claims(now, **{**usual, **changes})
        claims |= {name: None for name in ("aud", "nonce") if name in changes and changes[name] is None}
        self._asked("login", claims=claims, key=key, header=header or {})

    def sign_out(self) -> None:
        """End every login."""
        self._asked("sign_out")

    def forms(self) -> list[dict[str, str]]:
        """Return every form that was sent to the token endpoint."""
        forms: list[dict[str, str]] = self._asked("state")["forms"]
        return forms

    def published(self) -> list[dict[str, Any]]:
        """Return the key set."""
        keys: list[dict[str, Any]] = self._asked("state")["keys"]
        return keys

    def metadata_reads(self) -> int:
        """Return how often the metadata were read."""
        return int(self._asked("state")["reads"].get(METADATA, 0))

    def key_set_reads(self) -> int:
        """Return how often the key set was read."""
        return int(self._asked("state")["reads"].get(KEY_SET, 0))

    def _asked(self, action: str, **values: object) -> dict[str, Any]:
        answer: dict[str, Any] = (  # httpx's own JSON cannot encode half of a surrogate pair
            self._http.post(f"{self._control}/{action}", content=json.dumps(values)).raise_for_status().json()
        )
        return answer


class IssuerProcess:
    """The running process."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url = url
        self._http = http

    def realm(self) -> Realm:
        """Return an issuer that no other test uses."""
        name = f"r{next(_NUMBERS)}"
        return Realm(f"{self.url}/realms/{name}", f"{self.url}/control/{name}", self._http)


@contextmanager
def issuer_process() -> Iterator[IssuerProcess]:
    """Run the process until the block ends."""
    command = [sys.executable, "-m", "tests.support.issuer_app"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    try:
        assert process.stdout is not None
        with process.stdout, httpx.Client(timeout=30) as http:
            yield IssuerProcess(process.stdout.readline().strip(), http)
    finally:
        process.terminate()
        process.wait(30)


def written(header: object, claims: object, signature: bytes = b"") -> str:
    """Return a token in compact form, whatever its parts are."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
