"""Validates requests at the authorization endpoint, and makes the redirect URLs to the client."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from app.domain.access import Scope
from app.domain.oauth import MAX_STATE_LENGTH, OAuthError, check_challenge, is_our_resource, requested_scopes, scopes_at
from app.domain.sign_in import AuthorizationRequest, OAuthClient, Registration
from app.domain.teams import parsed_scopes, written_scopes
from app.services.sign_in.clients import ClientRefused, ClientRegistry

_AGAIN = "Go back to the app and connect again."


class RequestRefused(Exception):
    """An invalid authorization request. `str()` is a sentence that says why.

    Attributes:
        url: the URL that reports the error to the client.
        may_redirect: whether the browser may be redirected there before the person has agreed (RFC 9700, section
            4.11.2). Anybody may register a client, so that the service would redirect to any website.

    """

    def __init__(self, reason: str, url: str, *, may_redirect: bool) -> None:
        super().__init__(reason)
        self.url = url
        self.may_redirect = may_redirect


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A valid request, and its client."""

    request: AuthorizationRequest
    client: OAuthClient


class RequestCheck:
    """Validates authorization requests of the clients in a registry."""

    def __init__(self, registry: ClientRegistry, public_url: str) -> None:
        """`public_url` is the issuer, and the resource's URL without /mcp."""
        self._registry = registry
        self.public_url = public_url

    async def check(self, query: Mapping[str, str], address: str, *, repeated: bool) -> CheckedRequest:
        """Return the request in `query`. `repeated` is True if a parameter occurs more than once.

        Raises ClientRefused for an error that only the person may see, because the redirect URI is not trusted;
        RequestRefused for an error that is reported to the client; TooManyRequests and DatabaseUnavailable.
        """
        if not query.get("client_id"):
            raise ClientRefused(f"The app has opened this page without naming itself (client_id is missing). {_AGAIN}")
        client = await self._registry.find(query["client_id"], address)
        redirect_uri = _redirect_uri(query.get("redirect_uri"), client)
        state = query.get("state")
        try:
            return CheckedRequest(self._request(query, client, redirect_uri, repeated=repeated), client)
        except OAuthError as exc:
            returned_state = state if state is None or len(state) <= MAX_STATE_LENGTH else None
            url = self.error_url(redirect_uri, returned_state, exc)
            raise RequestRefused(str(exc), url, may_redirect=_may_redirect(redirect_uri, client)) from None

    def _request(
        self, query: Mapping[str, str], client: OAuthClient, redirect_uri: str, *, repeated: bool
    ) -> AuthorizationRequest:
        state = query.get("state")
        if repeated:
            raise OAuthError("invalid_request", "A parameter occurs more than once.")
        if state is not None and len(state) > MAX_STATE_LENGTH:
            raise OAuthError("invalid_request", f"state has more than {MAX_STATE_LENGTH} characters.")
        if query.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "response_type must be code.")
        if query.get("response_mode", "query") != "query" or "request" in query or "request_uri" in query:
            raise OAuthError("invalid_request", "Only plain requests with response_mode=query are served.")
        challenge = check_challenge(query.get("code_challenge"), query.get("code_challenge_method"))
        resource = query.get("resource")
        if resource and not is_our_resource(resource, self.public_url):
            raise OAuthError("invalid_target", f"This server issues tokens for {self.public_url}/mcp alone.")
        prompts = query.get("prompt", "").split()
        if "none" in prompts:
            raise OAuthError("interaction_required", "The person has to agree to each sign-in here.")
        scopes = scopes_at(resource, requested_scopes(query.get("scope"))) or frozenset({Scope.READ})
        login = bool({"login", "select_account"} & set(prompts))
        return AuthorizationRequest(client.id, redirect_uri, state, challenge, scopes, login)

    def code_url(self, request: AuthorizationRequest, code: str) -> str:
        """Return the redirect URL with the code for the client."""
        return self._redirect(request.redirect_uri, {"code": code, "state": request.state})

    def error_url(self, redirect_uri: str, state: str | None, error: OAuthError) -> str:
        """Return the redirect URL with an error for the client."""
        return self._redirect(redirect_uri, {"error": error.code, "error_description": str(error), "state": state})

    def _redirect(self, redirect_uri: str, values: Mapping[str, str | None]) -> str:
        """Return the redirect URI with `values` and the issuer (RFC 9207) appended to its query."""
        added = "&".join(
            f"{name}={quote(value, safe='')}"
            for name, value in {**values, "iss": self.public_url}.items()
            if value is not None
        )
        parts = urlsplit(redirect_uri)
        query = f"{parts.query}&{added}" if parts.query else added
        return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _redirect_uri(requested: str | None, client: OAuthClient) -> str:
    """Return the redirect URI of a request. Raises ClientRefused unless the client has registered it."""
    if requested is None and len(client.redirect_uris) == 1:
        return client.redirect_uris[0]
    if requested is None or not client.redirects_to(requested):
        raise ClientRefused(
            "The app asks for a redirect to an address that it has not registered, so nothing was sent there. "
            f"{_AGAIN} If that does not help, remove this server from the app and add it anew."
        )
    return requested


def _may_redirect(redirect_uri: str, client: OAuthClient) -> bool:
    """Return whether the operator has registered the client, or the redirect stays on the person's computer."""
    return client.registration is Registration.MANUAL or urlsplit(redirect_uri).scheme != "https"


def request_content(request: AuthorizationRequest) -> dict[str, Any]:
    """Return a request as JSON values, for sealing."""
    return asdict(request) | {"scopes": written_scopes(request.scopes)}


def request_of(content: Mapping[str, Any]) -> AuthorizationRequest:
    """Return the request from the values of `request_content`."""
    return AuthorizationRequest(**{**content, "scopes": parsed_scopes(content["scopes"])})
