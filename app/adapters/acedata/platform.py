"""Finds or creates the API token of a person, through AceDataCloud's platform API.

The platform calls an API token a credential. Each credential belongs to an application, which is for one service or for
all.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.adapters.acedata.login_http import LoginHttp, Reply
from app.ports.sign_in import LoginRefused

LUMA_SERVICE_ID = "dff45a0d-2858-4936-8e2b-3d49c52aff11"
"""AceDataCloud's id of its Luma service."""

MIN_TOKEN_LENGTH = 16
"""Fewest characters of an API token."""

MAX_LISTED = "10"
"""Value of `limit` in requests for lists."""

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
    """An API token, and its id at the platform."""

    id: str
    token: str = field(repr=False)


class Platform:
    """A client of the platform API. `bearer` is the access token of the person whose account is used."""

    def __init__(self, http: LoginHttp, name: str) -> None:
        """Send requests through `http`. Credentials are created with the name `name`, which people see in lists."""
        self._http = http
        self._name = name

    async def probe(self) -> None:
        """Send a request without a token. Raises LoginUnavailable."""
        await self._http.send("GET", _CREDENTIALS)

    async def credential(self, bearer: str) -> PlatformCredential:
        """Return the person's API token for this service. A credential is created if none has a readable token.

        Raises LoginRefused and LoginUnavailable.
        """
        application_id = await self._find_or_create_application(bearer)
        credentials = await self._list_credentials(bearer, application_id)
        for item in _require_ok(credentials).list_items():
            if (credential := _readable_credential(item)) is not None:
                return credential
        body = {"application_id": application_id, "name": self._name}
        created = _require_ok(await self._http.send("POST", _CREDENTIALS, bearer=bearer, body=body))
        if (credential := _readable_credential(created.body)) is None:
            log.error(
                "A person could not sign in: AceDataCloud's platform created a credential, but the response has no "
                "readable token. Its API may have changed"
            )
            raise LoginRefused(NOT_ALLOWED)
        return credential

    async def lists_credential(self, bearer: str, credential_id: str) -> bool | None:
        """Return whether the platform lists the credential; None if the list failed or may be incomplete.

        Raises LoginUnavailable.
        """
        reply = await self._list_credentials(bearer, None)
        items, count = reply.list_items(), reply.body.get("count")
        if any(str(item.get("id")) == credential_id for item in items):
            return True
        is_complete = reply.is_ok and type(count) is int and count <= len(items)
        return False if is_complete else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _list_credentials(self, bearer: str, application_id: str | None) -> Reply:
        query = {"user_id": "me", "name": self._name, "limit": MAX_LISTED, "ordering": "-created_at"}
        if application_id is not None:
            query["application_id"] = application_id
        return await self._http.send("GET", _CREDENTIALS, bearer=bearer, query=query)

    async def _find_or_create_application(self, bearer: str) -> str:
        """Return the id of the newest application for all services that is not disabled.

        If there is none, one is created: for all services, or for Luma alone if that is refused. Raises
        LoginRefused and LoginUnavailable.
        """
        query = {"user_id": "me", "type": "Usage", "scope": "Global", "limit": MAX_LISTED, "ordering": "-created_at"}
        applications = _require_ok(await self._http.send("GET", _APPLICATIONS, bearer=bearer, query=query))
        for item in applications.list_items():
            if not item.get("disabled") and isinstance(item.get("id"), str):
                return str(item["id"])
        for body in ({"type": "Usage", "scope": "Global"}, {"service_id": LUMA_SERVICE_ID}):
            created = await self._http.send("POST", _APPLICATIONS, bearer=bearer, body=body)
            if created.is_ok and (application_id := created.string_field("id")) is not None:
                return application_id
        _require_ok(created)
        raise LoginRefused(NOT_ALLOWED)


def _require_ok(reply: Reply) -> Reply:
    """Return `reply` if its status is 200 or 201. Raises LoginRefused otherwise."""
    if reply.is_ok:
        return reply
    code = reply.body.get("code")
    log.warning(
        "AceDataCloud's platform refused a request (status %d), so a person could not sign in. If this happens to "
        "everybody, look at LUMA_MCP_ACEDATA_SCOPES",
        reply.status,
    )
    raise LoginRefused(NOT_VERIFIED if code == "need_verify" else NOT_ALLOWED)


def _readable_credential(item: Mapping[str, Any]) -> PlatformCredential | None:
    """Return the credential in `item`; None if it has no id, or its token is masked.

    The platform does not mask tokens in lists, but may do so one day.
    """
    token, credential_id = item.get("token"), item.get("id")
    is_readable = isinstance(token, str) and len(token) >= MIN_TOKEN_LENGTH and token.isascii() and token.isalnum()
    return PlatformCredential(str(credential_id), str(token)) if is_readable and credential_id is not None else None
