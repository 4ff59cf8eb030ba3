"""Fakes of auth.acedata.cloud and platform.acedata.cloud: the documented contract, with its doubts as switches."""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.support.service import listening

CLIENT_ID = "app-luma"
FIFTEEN_DAYS = 1_296_000


@dataclass
class Doubts:
    """What the documentation leaves open, or may change. Each is off as documented."""

    masks_tokens: bool = False
    """Lists of credentials show masked tokens."""
    lists_results: bool = False
    """Lists are under `results`, in place of `items`."""
    refuses_global: bool = False
    """Applications can be made for one service only."""
    unverified: bool = False
    """The account is not verified: 403 `need_verify`."""
    denies: bool = False
    """The person declines at the login page."""
    is_down: bool = False
    """Every request is answered with 502."""
    lists_none: bool = False
    """Lists count the items, and hold none of them: the platform has applied a limit of its own."""
    names_nobody: bool = False
    """The scopes do not let userinfo name the person."""


@dataclass
class FakeAceData:
    """Both services, and one person who is logged in at the login page. `auth_url` and `platform_url` lead to them."""

    auth_url: str = ""
    platform_url: str = ""
    email: str = "fox@example.com"
    user_id: str = "user-1"
    doubts: Doubts = field(default_factory=Doubts)
    applications: list[dict[str, Any]] = field(default_factory=list)
    credentials: list[dict[str, Any]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    access_tokens: dict[str, str] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    authorized: list[dict[str, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def sign_out_everywhere(self) -> None:
        """End every login of the person."""
        self.access_tokens.clear()
        self.refresh_tokens.clear()

    async def authorize(self, request: Request) -> Response:
        """Log the person in at once, as a browser that is logged in already."""
        query = dict(request.query_params)
        self.authorized.append(query)
        back = query["redirect_uri"]
        if self.doubts.denies:
            values = {"error": "access_denied", "error_description": "no", "state": query["state"]}
            return RedirectResponse(f"{back}?{urlencode(values)}", 302)
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = query | {"user_id": self.user_id}
        return RedirectResponse(f"{back}?{urlencode({'code': code, 'state': query['state']})}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self._note(request)
        if self.doubts.is_down:
            return Response("bad gateway", 502)
        if form.get("client_id") != CLIENT_ID:
            return JSONResponse({"error": "invalid_client"}, 401)
        if form["grant_type"] == "refresh_token":
            user_id = self.refresh_tokens.pop(form["refresh_token"], None)
            return self._tokens(user_id, "offline_access") if user_id else JSONResponse({"error": "invalid_grant"}, 400)
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant", "error_description": "no such code"}, 400)
        return self._tokens(asked["user_id"], asked["scope"])

    def _tokens(self, user_id: str, scope: str) -> Response:
        access, refresh = f"header.{secrets.token_hex(16)}.signature", secrets.token_hex(16)
        self.access_tokens[access] = user_id
        body: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "expires_in": FIFTEEN_DAYS}
        if "offline_access" in scope:
            self.refresh_tokens[refresh] = user_id
            body["refresh_token"] = refresh
        return JSONResponse(body | {"scope": scope})

    async def me(self, request: Request) -> Response:
        if (user_id := self._user(request)) is None:
            return JSONResponse({"detail": "no", "code": "not_authenticated"}, 401)
        body = {"email": self.email, "nickname": "Fox"}
        return JSONResponse(body if self.doubts.names_nobody else body | {"id": user_id})

    async def list_applications(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        return self._listed(self.applications)

    async def make_application(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await request.json()
        if self.doubts.refuses_global and "service_id" not in body:
            return JSONResponse({"detail": "service_id is required", "code": "invalid"}, 400)
        self.applications.append(body | {"id": secrets.token_hex(8), "disabled": False})
        return JSONResponse(self.applications[-1], 201)

    async def list_credentials(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        query = request.query_params
        found = [
            one
            for one in self.credentials
            if query.get("name", one["name"]) == one["name"]
            and query.get("application_id", one["application_id"]) == one["application_id"]
        ]
        return self._listed([one | {"token": "ab…yz"} if self.doubts.masks_tokens else one for one in found])

    async def make_credential(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await request.json()
        self.credentials.append(body | {"id": secrets.token_hex(8), "type": "Token", "token": secrets.token_hex(16)})
        return JSONResponse(self.credentials[-1], 201)

    def _listed(self, items: list[dict[str, Any]]) -> Response:
        shown = [] if self.doubts.lists_none else items
        return JSONResponse({"count": len(items), "results" if self.doubts.lists_results else "items": shown})

    def _user(self, request: Request) -> str | None:
        self._note(request)
        return self.access_tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def _refusal(self, request: Request) -> Response | None:
        if self.doubts.is_down:
            return Response("bad gateway", 502)
        if self._user(request) is None:
            return JSONResponse({"detail": "no", "code": "not_authenticated"}, 401)
        return JSONResponse({"detail": "no", "code": "need_verify"}, 403) if self.doubts.unverified else None

    def _note(self, request: Request) -> None:
        self.requests.append(f"{request.method} {request.url.path}")


@asynccontextmanager
async def fake_acedata() -> AsyncIterator[FakeAceData]:
    """Serve both on loopback ports until the block ends."""
    fake = FakeAceData()
    auth = [
        Route("/oauth2/authorize", fake.authorize),
        Route("/oauth2/token", fake.token, methods=["POST"]),
        Route("/api/v1/users/me", fake.me),
    ]
    platform = [
        Route("/api/v1/applications/", fake.list_applications, methods=["GET"]),
        Route("/api/v1/applications/", fake.make_application, methods=["POST"]),
        Route("/api/v1/credentials/", fake.list_credentials, methods=["GET"]),
        Route("/api/v1/credentials/", fake.make_credential, methods=["POST"]),
    ]
    async with AsyncExitStack() as stack:
        fake.auth_url = await stack.enter_async_context(listening(Starlette(routes=auth)))
        fake.platform_url = await stack.enter_async_context(listening(Starlette(routes=platform)))
        yield fake
