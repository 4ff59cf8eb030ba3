"""Answers of HTTP that ask for a token, or for one with more scopes."""

from collections.abc import Collection

from starlette.types import Send

from app.domain.access import Scope
from app.domain.backend import BackendDescription
from app.domain.errors import Forbidden
from app.web.asgi import send_error
from app.web.auth.protected_resource import ProtectedResource

PLAIN_CHALLENGE = 'Bearer realm="luma-mcp"'
"""The challenge of a service that no client can sign in to."""

_HEADER = "Send it with each request: `Authorization: Bearer <token>`."
_WHAT_TO_SEND = {
    "sign_in": "an access token: connect again in your app, which then opens a page to sign in",
    "jwt": "a token of its identity provider: sign in with a client that can, or ask its operator",
    "keys": "the key of a team member, which begins with lmk_: ask its operator",
    "passthrough": "your own {backend} API token, which is made at {account_url}",
}


class Challenges:
    """The answers 401 and 403."""

    def __init__(self, resource: ProtectedResource | None, ways: Collection[str], backend: BackendDescription) -> None:
        """Lead clients to `resource`, None where they cannot sign in. `ways` to authenticate are on."""
        self._resource = resource
        self._advice = backend.say(how_to_authenticate(ways))
        self._lacks_scope = backend.say(Forbidden.template)

    async def ask_for_token(self, send: Send, *, was_refused: bool) -> None:
        """Answer 401 to a request without a token, or with one that was refused."""
        error = "invalid_token" if was_refused else None
        if self._resource is not None:
            challenge = self._resource.challenge(error)
        else:
            challenge = PLAIN_CHALLENGE + (f', error="{error}"' if error is not None else "")
        await send_error(send, 401, "unauthorized", self._advice, (b"www-authenticate", challenge.encode()))

    async def ask_for_scopes(self, send: Send, scopes: Collection[Scope]) -> None:
        """Answer 403 to a request whose token lacks one of `scopes`."""
        challenge = self._resource.challenge("insufficient_scope", scopes) if self._resource is not None else None
        headers = ((b"www-authenticate", challenge.encode()),) if challenge is not None else ()
        await send_error(send, 403, "insufficient_scope", self._lacks_scope, *headers)


def how_to_authenticate(ways: Collection[str]) -> str:
    """Return the template of what a request without a valid token is told, by the ways to authenticate that are on."""
    known = [what for way, what in _WHAT_TO_SEND.items() if way in ways]
    no_sign_in = "" if {"jwt", "sign_in"} & set(ways) else " There is no sign-in here."
    return f"This service needs {'; or '.join(known)}. {_HEADER}{no_sign_in}"
