"""/token, /revoke and /register: the endpoints that OAuth clients call without a browser."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.domain.oauth import GRANTABLE, OAuthError, written_oauth_scopes
from app.domain.sign_in import OAuthClient
from app.ports.repositories import DatabaseBusy, DatabaseUnavailable
from app.services.limits.address_limits import AddressLimit
from app.services.sign_in.client_auth import ClientAuthenticator, ClientProof
from app.services.sign_in.clients import ClientRegistry, NewClient, TooManyRequests
from app.services.sign_in.tokens import IssuedTokens, TokenService
from app.web.auth import responses
from app.web.auth.authorize import count_request
from app.web.auth.requests import BadForm, address_of, basic_credentials, body_of, form_of

_CREATED = 201


@dataclass(frozen=True, slots=True)
class ClientEndpointLimits:
    """Limits for each network address.

    Attributes:
        tokens: requests to /token and /revoke.
        registrations: requests to /register.
        new_clients: requests to /register that create a client.

    """

    tokens: AddressLimit
    registrations: AddressLimit
    new_clients: AddressLimit


class ClientEndpoints:
    """Token, revocation and registration endpoint."""

    def __init__(
        self, tokens: TokenService, clients: ClientAuthenticator, registry: ClientRegistry, limits: ClientEndpointLimits
    ) -> None:
        """Issue and revoke tokens with `tokens`, for clients that `clients` authenticates.

        New clients are registered in `registry`.
        """
        self._tokens = tokens
        self._authenticator = clients
        self._registry = registry
        self._limits = limits

    def routes(self) -> list[Route]:
        """Return the routes."""
        handlers = {"/token": self._token, "/revoke": self._revoke, "/register": self._register}
        return [
            Route(path, with_oauth_errors(handler), methods=["POST", "OPTIONS"]) for path, handler in handlers.items()
        ]

    async def _token(self, request: Request) -> Response:
        form, client = await self._authenticated(request)
        grant_type = form.get("grant_type")
        if grant_type == "authorization_code":
            issued = await self._tokens.exchange(
                client,
                form.get("code", ""),
                form.get("code_verifier"),
                redirect_uri=form.get("redirect_uri"),
                resource=form.get("resource"),
            )
        elif grant_type == "refresh_token":
            issued = await self._tokens.refresh(
                client, form.get("refresh_token", ""), scope=form.get("scope"), resource=form.get("resource")
            )
        else:
            raise OAuthError("unsupported_grant_type", "grant_type must be authorization_code or refresh_token.")
        self._limits.tokens.trust(address_of(request))
        return responses.oauth_json(_token_content(issued))

    async def _revoke(self, request: Request) -> Response:
        form, client = await self._authenticated(request)
        if not form.get("token"):
            raise OAuthError("invalid_request", "The request names no token.")
        await self._tokens.revoke(client, form["token"])
        return responses.oauth_json({})

    async def _register(self, request: Request) -> Response:
        address = address_of(request)
        count_request(self._limits.registrations, address)
        count_request(self._limits.new_clients, address)
        registration = await self._registry.register(_client_metadata(await body_of(request)))
        if not registration.is_new:
            self._limits.new_clients.give_back(address)
        return responses.oauth_json(_registration_content(registration), _CREATED)

    async def _authenticated(self, request: Request) -> tuple[dict[str, str], OAuthClient]:
        """Return the form of a request and its authenticated client. Raises OAuthError, BadForm and TooManyRequests."""
        address = address_of(request)
        count_request(self._limits.tokens, address)
        form, basic = await form_of(request), basic_credentials(request)
        client_id, secret = basic if basic is not None else (form.get("client_id"), form.get("client_secret"))
        if basic is not None and form.get("client_id", client_id) != client_id:
            raise OAuthError("invalid_client", "The form and the Authorization header name different clients.")
        proof = ClientProof(client_id, secret, form.get("client_assertion_type"), form.get("client_assertion"))
        if proof.client_id is None and proof.assertion is not None:
            raise OAuthError("invalid_client", "Send client_id beside the assertion.")
        return form, await self._authenticator.authenticate(proof, address)


def with_oauth_errors(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return `handler` with its exceptions turned into OAuth errors, and with a response to CORS preflight requests."""

    async def handled(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=responses.CORS)
        try:
            return await handler(request)
        except OAuthError as exc:
            return responses.oauth_error(exc, basic=basic_credentials(request) is not None)
        except BadForm as exc:
            return responses.oauth_error(OAuthError("invalid_request", str(exc)))
        except TooManyRequests as exc:
            error = OAuthError("temporarily_unavailable", "Too many requests from this address or in total. Try later.")
            return responses.oauth_error(error, retry_after_seconds=exc.retry_after_seconds)
        except DatabaseUnavailable as exc:
            reason = "is busy with other requests to sign-in" if isinstance(exc, DatabaseBusy) else "does not answer"
            error = OAuthError("temporarily_unavailable", f"This service's database {reason}. Try again shortly.")
            return responses.oauth_error(error)

    return handled


def _client_metadata(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise OAuthError("invalid_client_metadata", "Send the client's metadata as one JSON object.")
    return content


def _token_content(issued: IssuedTokens) -> dict[str, object]:
    return {
        "access_token": issued.access,
        "token_type": "Bearer",
        "expires_in": int(issued.seconds),
        "refresh_token": issued.refresh,
        "scope": written_oauth_scopes(issued.scopes),
    }


def _registration_content(new: NewClient) -> dict[str, object]:
    client = new.client
    secret = {"client_secret": new.secret, "client_secret_expires_at": 0} if new.secret is not None else {}
    return {
        "client_id": client.id,
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "token_endpoint_auth_method": client.auth,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": " ".join(GRANTABLE),
        **secret,
    }
