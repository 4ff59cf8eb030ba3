"""The responses 401 and 403 with their WWW-Authenticate challenges (RFC 6750)."""

from collections.abc import Collection

from starlette.types import Send

from app.domain.access import Scope
from app.domain.backend import BackendDescription
from app.domain.errors import Forbidden
from app.web.asgi import send_error
from app.web.auth.protected_resource import ProtectedResource

PLAIN_CHALLENGE = 'Bearer realm="luma-mcp"'
"""The challenge of a service without sign-in."""

_HEADER = "Send it with each request: `Authorization: Bearer <token>`."
_TOKEN_ADVICE = {
    "sign_in": "an access token: connect again in your app, which then opens a page to sign in",
    "jwt": "a token of its identity provider: sign in with a client that can, or ask its operator",
    "keys": "the key of a team member, which begins with lmk_ and is not revoked, blocked or expired: ask its operator",
    "passthrough": "your own {backend} API token, which is made at {account_url}",
}


class Challenges:
    """Sends the responses 401 and 403."""

    def __init__(
        self, resource: ProtectedResource | None, methods: Collection[str], backend: BackendDescription
    ) -> None:
        """Name the metadata of `resource` in challenges. `resource` is None if clients cannot sign in.

        `methods` are the enabled authentication methods, as in LUMA_MCP_AUTH, and "sign_in".
        """
        self._resource = resource
        self._read_only_resource = resource.read_only_resource() if resource is not None else None
        self._advice = backend.say(how_to_authenticate(methods))
        self._missing_scope_message = backend.say(Forbidden.template)

    async def ask_for_token(self, send: Send, *, was_refused: bool, is_read_only: bool) -> None:
        """Send 401 to a request without a token, or with a token that was refused.

        `is_read_only` says whether the request is for the read-only endpoint, which is a separate protected resource.
        """
        error = "invalid_token" if was_refused else None
        if (resource := self._read_only_resource if is_read_only else self._resource) is not None:
            challenge = resource.challenge(error)
        else:
            challenge = PLAIN_CHALLENGE + (f', error="{error}"' if error is not None else "")
        await send_error(send, 401, "unauthorized", self._advice, (b"www-authenticate", challenge.encode()))

    async def ask_for_scopes(self, send: Send, scopes: Collection[Scope], *, is_read_only: bool) -> None:
        """Send 403 to a request whose token lacks one of `scopes`. Clients then ask the issuer for them."""
        resource = self._read_only_resource if is_read_only else self._resource
        challenge = resource.challenge("insufficient_scope", scopes) if resource is not None else None
        headers = ((b"www-authenticate", challenge.encode()),) if challenge is not None else ()
        await send_error(send, 403, "insufficient_scope", self._missing_scope_message, *headers)


def how_to_authenticate(methods: Collection[str]) -> str:
    """Return the template of the 401 message, which names the token that each of `methods` needs."""
    tokens = [token for method, token in _TOKEN_ADVICE.items() if method in methods]
    no_sign_in_note = "" if {"jwt", "sign_in"} & set(methods) else " There is no sign-in here."
    return f"This service needs {'; or '.join(tokens)}. {_HEADER}{no_sign_in_note}"
