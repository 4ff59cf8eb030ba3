"""Finds or makes the credential of a person at AceDataCloud's platform API."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.adapters.acedata.login_http import LoginHttp, Reply
from app.ports.sign_in import LoginRefused

LUMA_SERVICE_ID = "dff45a0d-2858-4936-8e2b-3d49c52aff11"
SHORTEST_TOKEN = 16
MOST_LISTED = "10"
_CREDENTIALS, _APPLICATIONS = "/api/v1/credentials/", "/api/v1/applications/"

NOT_VERIFIED = (
    "Your AceDataCloud account is not verified yet, so it cannot make API tokens. Verify it at "
    "https://platform.acedata.cloud, then connect again."
)
NOT_ALLOWED = (
    "AceDataCloud did not let this service find or make an API token for your account, so nothing was connected. Agree "
    "to all that its login page asks for, and connect again."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlatformCredential:
    """An API token, by its id at the platform."""

    id: str
    token: str = field(repr=False)


class Platform:
    """The platform API, asked in a person's name."""

    def __init__(self, http: LoginHttp, name: str) -> None:
        """Ask over `http`. Credentials of this service have the name `name`, so that people recognise them."""
        self._http = http
        self._name = name

    async def credential(self, bearer: str) -> PlatformCredential:
        """Return the person's API token for this service, which is made where there is none.

        Raises LoginRefused and LoginUnavailable.
        """
        application_id = await self._application(bearer)
        found = await self._listed(bearer, application_id)
        for item in _allowed(found).items():
            if (usable := _usable(item)) is not None:
                return usable
        body = {"application_id": application_id, "name": self._name}
        made = _allowed(await self._http.send("POST", _CREDENTIALS, bearer=bearer, body=body))
        if (usable := _usable(made.body)) is None:
            log.error("AceDataCloud's platform has made a credential without a readable token: nobody can sign in")
            raise LoginRefused(NOT_ALLOWED)
        return usable

    async def has(self, bearer: str, credential_id: str) -> bool | None:
        """Return whether the credential is still there; None if the answer does not tell. Raises LoginUnavailable."""
        found = await self._listed(bearer, None)
        items = found.items()
        if any(str(item.get("id")) == credential_id for item in items):
            return True
        return False if found.is_ok and len(items) < int(MOST_LISTED) else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _listed(self, bearer: str, application_id: str | None) -> Reply:
        query = {"user_id": "me", "name": self._name, "limit": MOST_LISTED, "ordering": "-created_at"}
        if application_id is not None:
            query["application_id"] = application_id
        return await self._http.send("GET", _CREDENTIALS, bearer=bearer, query=query)

    async def _application(self, bearer: str) -> str:
        """Return the newest application for all services, else for Luma; one is made where there is none."""
        query = {"user_id": "me", "type": "Usage", "scope": "Global", "limit": MOST_LISTED, "ordering": "-created_at"}
        found = _allowed(await self._http.send("GET", _APPLICATIONS, bearer=bearer, query=query))
        for item in found.items():
            if not item.get("disabled") and isinstance(item.get("id"), str):
                return str(item["id"])
        for body in ({"type": "Usage", "scope": "Global"}, {"service_id": LUMA_SERVICE_ID}):
            made = await self._http.send("POST", _APPLICATIONS, bearer=bearer, body=body)
            if made.is_ok and (number := made.text("id")) is not None:
                return number
        _allowed(made)
        raise LoginRefused(NOT_ALLOWED)


def _allowed(reply: Reply) -> Reply:
    """Return a reply that was carried out. Raises LoginRefused."""
    if reply.is_ok:
        return reply
    code = reply.body.get("code")
    log.warning("AceDataCloud's platform refused a sign-in (status %d): look at the scopes", reply.status)
    raise LoginRefused(NOT_VERIFIED if code == "need_verify" else NOT_ALLOWED)


def _usable(item: Mapping[str, Any]) -> PlatformCredential | None:
    """Return the credential of a list if its token is in clear: the platform may mask tokens in lists one day."""
    token, number = item.get("token"), item.get("id")
    is_clear = isinstance(token, str) and len(token) >= SHORTEST_TOKEN and token.isascii() and token.isalnum()
    return PlatformCredential(str(number), str(token)) if is_clear and number is not None else None
