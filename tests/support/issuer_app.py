"""A small OpenID issuer: metadata, key sets and signed tokens, with switches for faults. Run it as a program.

Each path /realms/NAME is an issuer of its own, so that one process serves all tests. Tests drive it under /control.
"""

import asyncio
import json
import secrets
from base64 import urlsafe_b64encode
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from app.cli.serve import listening_socket

METADATA, KEY_SET = "metadata", "keys"


@cache
def first_rsa_key() -> rsa.RSAPrivateKey:
    """Return the first RSA key of every realm: to generate one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_private_key(algorithm: str) -> Any:
    """Return a new private key for an algorithm."""
    if algorithm.startswith(("RS", "PS")):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[algorithm])


def public_jwk(key_id: str, algorithm: str, private: Any) -> dict[str, Any]:
    """Return the public half of a key as an issuer publishes it."""
    jwk = get_default_algorithms()[algorithm].to_jwk(private.public_key(), as_dict=True)
    return {name: value for name, value in jwk.items() if name != "key_ops"} | {
        "kid": key_id,
        "alg": algorithm,
        "use": "sig",
    }


@dataclass
class RealmState:
    """One issuer: its keys by id, the key set that it publishes, its faults, and how often its documents were read."""

    issuer: str
    private: dict[str, tuple[str, Any]] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, Any] = field(default_factory=dict)
    reads: Counter[str] = field(default_factory=Counter)
    login: dict[str, Any] = field(default_factory=dict)
    """The ID token of whoever signs in: claims, key and header, of which the claims may be without aud and nonce."""
    codes: dict[str, tuple[dict[str, str], dict[str, Any]]] = field(default_factory=dict)
    """By code: the query that it was made for, and who was logged in then."""
    refresh_tokens: set[str] = field(default_factory=set)
    forms: list[dict[str, str]] = field(default_factory=list)

    def add_key(self, key_id: str, algorithm: str, private: Any = None) -> None:
        """Add a key and publish it."""
        private = new_private_key(algorithm) if private is None else private
        self.private[key_id] = (algorithm, private)
        self.published.append(public_jwk(key_id, algorithm, private))

    def metadata(self) -> dict[str, Any]:
        """Return the metadata, changed by the fault of that name."""
        plain = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/keys",
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
        }
        return {**plain, **self.faults.get("metadata", {})}

    def signed(self, claims: dict[str, Any], key_id: str, header: dict[str, Any]) -> str:
        """Return a token that is signed with one of the keys. A header of None is left out."""
        algorithm, private = self.private[key_id]
        given = {"kid": key_id, **header}
        written = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(claims, private, algorithm, headers=written)

    def change(self, action: str, given: dict[str, Any]) -> None:
        """Do what a test asks for."""
        match action:
            case "add_key":
                self.add_key(given["key"], given["algorithm"])
            case "withdraw_key":
                self.published = [jwk for jwk in self.published if jwk["kid"] != given["key"]]
            case "publish":
                self.published.append(given["jwk"])
            case "faults":
                self.faults = given
            case "login":
                self.login = given
            case "sign_out":
                self.refresh_tokens.clear()

    def authorized(self, query: dict[str, str]) -> str:
        """Return where the browser goes of a person who is logged in already."""
        code = secrets.token_hex(8)
        self.codes[code] = query, self.login
        back = {"code": code, "state": query["state"]} | self.faults.get("returned", {})
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def exchanged(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Return the answer of the token endpoint."""
        self.forms.append(form)
        refresh = secrets.token_hex(16)
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return 400, {"error": "invalid_grant"}
            self.refresh_tokens.discard(form["refresh_token"])
            self.refresh_tokens.add(refresh)
            return 200, {"access_token": "opaque", "token_type": "Bearer", "refresh_token": refresh}
        asked, login = self.codes.pop(form["code"], (None, {}))
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        usual = {"aud": asked["client_id"], "nonce": asked["nonce"]}
        claims = {name: value for name, value in {**usual, **login["claims"]}.items() if value is not None}
        id_token = self.signed(claims, login["key"], login["header"])
        self.refresh_tokens.add(refresh)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": id_token, "refresh_token": refresh}


class Realms:
    """The issuers of one process, each made when it is first asked for."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._states: dict[str, RealmState] = {}

    def __getitem__(self, name: str) -> RealmState:
        """Return an issuer, which has an RS256 and an ES256 key."""
        if (state := self._states.get(name)) is None:
            state = self._states[name] = RealmState(f"{self.base_url}/realms/{name}")
            state.add_key("rsa-1", "RS256", first_rsa_key())
            state.add_key("ec-1", "ES256")
        return state


def _document(state: RealmState, kind: str, content: Any) -> Response:
    """Return a document, or what its faults make of it."""
    state.reads[kind] += 1
    faults = state.faults
    if (status := faults.get("status")) is not None:
        return PlainTextResponse("a fault of the test", status)
    if (target := faults.get("redirect")) is not None:
        return RedirectResponse(target)
    if (text := faults.get(kind)) is not None and isinstance(text, str):
        return PlainTextResponse(text)
    return Response(json.dumps(content) + " " * faults.get("padding", 0), media_type="application/json")


def create_issuer(base_url: str) -> Starlette:
    """Return the application of the issuers under `base_url`."""
    realms = Realms(base_url)

    async def metadata(request: Request) -> Response:
        state = realms[request.path_params["realm"]]
        if state.faults.get("only_rfc8414") and "openid" in request.url.path:
            return PlainTextResponse("not here", 404)
        return _document(state, METADATA, state.metadata())

    async def keys(request: Request) -> Response:
        state = realms[request.path_params["realm"]]
        return _document(state, KEY_SET, {"keys": state.published})

    async def authorize(request: Request) -> Response:
        return RedirectResponse(realms[request.path_params["realm"]].authorized(dict(request.query_params)))

    async def token(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        basic = request.headers.get("authorization")
        state = realms[request.path_params["realm"]]
        if (faulty := state.faults.get("token")) is not None:
            return JSONResponse(faulty["body"], faulty["status"])
        status, answer = state.exchanged(form | ({"basic": basic} if basic else {}))
        return JSONResponse(answer, status)

    async def control(request: Request) -> Response:
        state, given = realms[request.path_params["realm"]], await request.json()
        if request.path_params["action"] == "token":
            return JSONResponse({"token": state.signed(given["claims"], given["key"], given["header"])})
        state.change(request.path_params["action"], given)
        return JSONResponse({"keys": state.published, "reads": dict(state.reads), "forms": state.forms})

    return Starlette(
        routes=[
            Route("/realms/{realm}/.well-known/openid-configuration", metadata),
            Route("/.well-known/oauth-authorization-server/realms/{realm}", metadata),
            Route("/realms/{realm}/keys", keys),
            Route("/realms/{realm}/authorize", authorize),
            Route("/realms/{realm}/token", token, methods=["POST"]),
            Route("/control/{realm}/{action}", control, methods=["POST"]),
        ]
    )


async def main() -> None:
    """Serve on a free loopback port, and print the URL."""
    socket = listening_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(create_issuer(url), log_config=None, access_log=False, lifespan="off"))
    print(url, flush=True)  # noqa: T201 - the test reads it
    await server.serve(sockets=[socket])


if __name__ == "__main__":
    asyncio.run(main())
