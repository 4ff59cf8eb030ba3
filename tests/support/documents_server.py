"""A web server for the documents of clients and their keys, with switches for what may be wrong with it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.service import listening


@dataclass
class DocumentServer:
    """Documents by path. `status`, `headers` and `body` replace the usual answer; `fetched` has every path."""

    url: str = ""
    documents: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    fetched: list[str] = field(default_factory=list)

    def add(self, path: str, **content: Any) -> str:
        """Describe a client at `path`, and return its id."""
        client_id = f"{self.url}{path}"
        described = {
            "client_id": client_id,
            "client_name": "Documented",
            "redirect_uris": ["http://127.0.0.1/callback"],
        }
        self.documents[path] = described | content
        return client_id

    async def answer(self, request: Request) -> Response:
        self.fetched.append(request.url.path)
        body = self.body if self.body is not None else json.dumps(self.documents.get(request.url.path)).encode()
        return Response(body, self.status, headers={"content-type": "application/json", **self.headers})


@asynccontextmanager
async def document_server() -> AsyncIterator[DocumentServer]:
    """Serve on a loopback port until the block ends."""
    server = DocumentServer()
    async with listening(Starlette(routes=[Route("/{path:path}", server.answer)])) as url:
        server.url = url
        yield server
