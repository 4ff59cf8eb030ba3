"""A client of /admin/v1 with a team key, and what the audit log says of its changes."""

from dataclasses import dataclass
from typing import Any

import httpx

from app.adapters.sql.audit import SqlAuditLog
from app.domain.access import Scope
from app.domain.teams import AuditEntry
from app.web.admin.operations import OPERATIONS
from tests.support.fleet import Fleet
from tests.support.service import Service

ADMIN = frozenset(Scope)
NOBODY = "0123456789ab"
EVERY = [(operation.method, operation.path.format(id=NOBODY, window="day")) for operation in OPERATIONS]
"""Method and path of each operation; of ids, that of nobody."""

OF_IDS = [(method, path) for method, path in EVERY if NOBODY in path]


@dataclass(frozen=True)
class Administrator:
    """A client with one key. `key_id` is that of the key."""

    fleet: Fleet
    key: str
    key_id: str

    async def send(
        self, method: str, path: str, body: Any = None, *, on: Service | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request to a replica, by default the first, and return the response."""
        service = on or self.fleet.one
        headers = {"authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        given = options if body is None else {"json": body, **options}
        return await service.http.request(method, f"{service.url}/admin/v1{path}", headers=headers, **given)

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Return the document of a request that is done."""
        response = await self.send(method, path, body, **options)
        assert response.is_success, response.text
        assert response.headers["cache-control"] == "no-store"
        return response.json()

    async def refused(self, status: int, method: str, path: str, body: Any = None, **options: Any) -> str:
        """Return the sentence of a request that is refused with a problem."""
        response = await self.send(method, path, body, **options)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["cache-control"] == "no-store"
        problem = response.json()
        assert set(problem) == {"type", "title", "status", "detail", "code"}
        assert problem["status"] == status
        return str(problem["detail"])

    async def changes(self) -> list[AuditEntry]:
        """Return what the audit log holds of this key's changes."""
        log = SqlAuditLog(self.fleet.one.assembly.persistence.database, self.fleet.clock.sql)
        return [entry for entry in await log.entries(1000) if entry.actor == f"key:{self.key_id}"]


async def administrator(
    fleet: Fleet, team: str = "film", member: str = "root", scopes: frozenset[Scope] = ADMIN
) -> Administrator:
    """Return a client with a new key of a new member."""
    key = await fleet.teams.member(team, member, scopes)
    return Administrator(fleet, key, await fleet.teams.id_of(key))
