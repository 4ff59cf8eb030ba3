"""Sign-in with an OpenID issuer: authorization code flow with PKCE and nonce, and a verified ID token."""

import asyncio
import hmac
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode, urlsplit

from cachetools import TTLCache
from jwt import PyJWT, PyJWTError
from jwt.types import Options

from app.adapters.auth.jwt.claims import ClaimNames, check_times_and_subject, person_of
from app.adapters.auth.jwt.faults import IssuerUnavailable, TokenRefused
from app.adapters.auth.jwt.issuer_client import IssuerClient
from app.adapters.auth.jwt.issuer_keys import IssuerKeys
from app.adapters.auth.jwt.keys import ALGORITHMS
from app.adapters.auth.jwt.token_form import decode_token_of_issuer
from app.domain.oauth import OFFLINE_ACCESS, s256
from app.domain.sign_in import PersonSecrets, visible_name
from app.ports.auth import AuthenticationUnavailable
from app.ports.sign_in import Liveness, LoginAttempt, LoginRefused, LoginUnavailable, SignedIn
from app.services.log_throttle import ThrottledLog

SCOPES = "openid profile email"
METADATA_SECONDS = 3600.0
"""Time for which the issuer's metadata are cached."""

RETRY_SECONDS = 5.0
"""After a failed read of the metadata, sign-ins are refused for this time, and the metadata are not read again."""

ENDPOINTS = ("authorization_endpoint", "token_endpoint")
"""The members of the metadata that a sign-in needs."""

BAD_REQUEST = 400
MAX_TOKEN_LENGTH = 32_768
"""Maximum length, in characters, of an ID token."""

UNAVAILABLE = (
    "The login of this service does not answer as expected. Nothing was connected. Try again in a few minutes."
)
NOT_SIGNED_IN = "The login did not sign you in, so nothing was connected."

_OPTIONS: Options = {
    "require": ["iss", "aud", "exp", "iat", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
"""PyJWT checks no times, because `check_times_and_subject` compares them with this service's clock."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OidcClientRegistration:
    """The registration of this service as a client of the issuer.

    Attributes:
        secret: the client secret; None for a public client.
        team_claim: the claim that names a person's team.

    """

    issuer: str
    client_id: str
    secret: str | None = field(repr=False)
    redirect_uri: str
    team_claim: str


class OidcClocks(Protocol):
    """A wall clock and a monotonic clock."""

    @property
    def wall(self) -> Callable[[], float]:
        """The clock that returns Unix seconds."""
        ...

    @property
    def monotonic(self) -> Callable[[], float]:
        """The monotonic clock, in seconds."""
        ...


class OidcLogin:
    """The login of one OpenID issuer."""

    def __init__(
        self,
        registration: OidcClientRegistration,
        client: IssuerClient,
        keys: IssuerKeys,
        clocks: OidcClocks,
    ) -> None:
        """Send requests through `client`, and verify ID tokens with `keys`."""
        self._registration = registration
        self._client = client
        self._keys = keys
        self._wall_clock = clocks.wall
        self._metadata: TTLCache[str, dict[str, Any]] = TTLCache(1, METADATA_SECONDS, clocks.monotonic)
        self._reading: asyncio.Task[dict[str, Any]] | None = None
        self._failures: TTLCache[str, IssuerUnavailable] = TTLCache(1, RETRY_SECONDS, clocks.monotonic)
        """The last failed read. The only key of this cache and of `_metadata` is ""."""
        self._log = ThrottledLog(log, clocks.monotonic)
        self._jwt = PyJWT(_OPTIONS)
        self._claim_names = ClaimNames(registration.team_claim, "preferred_username", (), {})

    @property
    def name(self) -> str:
        """Return the host of the issuer."""
        return urlsplit(self._registration.issuer).hostname or self._registration.issuer

    @property
    def origin(self) -> str:
        """Return the scheme, host and port of the issuer."""
        parts = urlsplit(self._registration.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    async def begin(self, attempt: LoginAttempt) -> str:
        """Return the URL of the login page. Raises LoginUnavailable."""
        metadata = await self._cached_metadata()
        endpoint = self._endpoint(metadata, "authorization_endpoint")
        supported = metadata.get("scopes_supported")
        offers_refresh = isinstance(supported, list) and OFFLINE_ACCESS in supported
        query = {
            "response_type": "code",
            "client_id": self._registration.client_id,
            "redirect_uri": self._registration.redirect_uri,
            "scope": f"{SCOPES} {OFFLINE_ACCESS}" if offers_refresh else SCOPES,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": s256(attempt.verifier),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def finish(self, attempt: LoginAttempt, returned: Mapping[str, str]) -> SignedIn:
        """Exchange the code, verify the ID token, and return the person. `returned` is the query of the redirect.

        Raises LoginRefused and LoginUnavailable.
        """
        metadata = await self._cached_metadata()
        must_have_iss = metadata.get("authorization_response_iss_parameter_supported") is True
        if returned.get("iss", None if must_have_iss else self._registration.issuer) != self._registration.issuer:
            raise LoginRefused(NOT_SIGNED_IN)
        if not returned.get("code"):
            raise LoginRefused(NOT_SIGNED_IN)
        form = {
            "grant_type": "authorization_code",
            "code": returned["code"],
            "redirect_uri": self._registration.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        status, tokens = await self._request_tokens(metadata, form)
        if status != 200:  # noqa: PLR2004 - the status itself
            self._log.warn(
                "code",
                "The OpenID issuer did not exchange an authorization code for tokens (status %d), so a person could "
                "not sign in. If this happens to everybody, check LUMA_MCP_OIDC_CLIENT_ID and "
                "LUMA_MCP_OIDC_CLIENT_SECRET",
                status,
            )
            raise LoginRefused(NOT_SIGNED_IN)
        claims = await self._verified_claims(tokens.get("id_token"), attempt.nonce)
        person = person_of(claims, self._claim_names)
        label = next((text for name in ("email", "name") if isinstance(text := claims.get(name), str)), person.name)
        refresh = tokens.get("refresh_token")
        login = json.dumps({"refresh_token": refresh}) if isinstance(refresh, str) else None
        secrets = PersonSecrets(visible_name(label, person.name), login=login, teams=person.teams)
        return SignedIn(self._registration.issuer, person.subject, secrets)

    async def check_liveness(self, secrets: PersonSecrets) -> tuple[Liveness, PersonSecrets]:
        """Refresh the login's tokens, and return whether the issuer still accepts the refresh token.

        The returned secrets hold the new refresh token if there is one. The liveness is UNKNOWN if the login has no
        refresh token, or if the issuer does not answer as expected.
        """
        if secrets.login is None:
            return Liveness.UNKNOWN, secrets
        login: dict[str, str] = json.loads(secrets.login)
        try:
            form = {"grant_type": "refresh_token", "refresh_token": login["refresh_token"]}
            status, tokens = await self._request_tokens(await self._cached_metadata(), form)
        except LoginUnavailable:
            return Liveness.UNKNOWN, secrets
        if status == BAD_REQUEST and tokens.get("error") == "invalid_grant":
            return Liveness.DEAD, secrets
        if status != 200:  # noqa: PLR2004 - the status itself
            return Liveness.UNKNOWN, secrets
        if isinstance(refresh := tokens.get("refresh_token"), str):
            secrets = replace(secrets, login=json.dumps({"refresh_token": refresh}))
        return Liveness.ALIVE, secrets

    async def find_fault(self) -> str | None:
        """Read the metadata and the keys. Return None if they can be used, else words that follow the issuer's name."""
        try:
            metadata = await self._client.read_metadata()
            await self._keys.count_keys()
        except IssuerUnavailable as exc:
            return str(exc)
        unusable = [name for name in ENDPOINTS if not self._client.is_usable(metadata.get(name))]
        return f"names no usable {' and no usable '.join(unusable)} in its OpenID configuration" if unusable else None

    async def aclose(self) -> None:
        """Do nothing, because no connection is kept."""

    async def _request_tokens(self, metadata: Mapping[str, Any], form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Send `form` to the token endpoint, and return the status and the JSON object of the response.

        The client secret is sent in the form if the metadata list `client_secret_post`, else with HTTP Basic, in
        which both parts are form-encoded (RFC 6749, section 2.3.1). Raises LoginUnavailable.
        """
        methods = metadata.get("token_endpoint_auth_methods_supported")
        in_form = isinstance(methods, list) and "client_secret_post" in methods
        basic = None
        fields = {**form, "client_id": self._registration.client_id}
        if self._registration.secret is not None and in_form:
            fields["client_secret"] = self._registration.secret
        elif self._registration.secret is not None:
            basic = (quote_plus(self._registration.client_id), quote_plus(self._registration.secret))
        try:
            return await self._client.post_form(self._endpoint(metadata, "token_endpoint"), fields, basic)
        except IssuerUnavailable as exc:
            raise self._unavailable(exc) from None

    async def _cached_metadata(self) -> dict[str, Any]:
        """Return the issuer's metadata. Concurrent callers share one read.

        After a failed read, the metadata are not read again for RETRY_SECONDS. Raises LoginUnavailable.
        """
        if (metadata := self._metadata.get("")) is not None:
            return metadata
        if (failure := self._failures.get("")) is not None:
            raise self._unavailable(failure)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._client.read_metadata())
        reading = self._reading
        await asyncio.wait([reading])
        try:
            metadata = self._metadata[""] = reading.result()
        except IssuerUnavailable as exc:
            self._failures[""] = exc
            raise self._unavailable(exc) from None
        return metadata

    def _endpoint(self, metadata: Mapping[str, Any], name: str) -> str:
        endpoint = metadata.get(name)
        if not isinstance(endpoint, str) or not self._client.is_usable(endpoint):
            raise self._unavailable(IssuerUnavailable(f"names no {name}"))
        return endpoint

    async def _verified_claims(self, id_token: object, nonce: str) -> dict[str, Any]:
        """Verify an ID token, and return its claims. Raises LoginRefused and LoginUnavailable."""
        if not isinstance(id_token, str) or len(id_token) > MAX_TOKEN_LENGTH:
            raise LoginRefused(NOT_SIGNED_IN)
        token = decode_token_of_issuer(id_token, self._registration.issuer)
        algorithm = token.header["alg"] if token is not None else None
        if token is None or not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in token.header:
            raise self._id_token_refused("not a JWT of an accepted algorithm")
        try:
            key = await self._keys.find(token.header.get("kid"), algorithm)
            claims = self._jwt.decode(
                id_token,
                key.key,
                algorithms=[algorithm],
                audience=self._registration.client_id,
                issuer=self._registration.issuer,
            )
            check_times_and_subject(claims, self._wall_clock())
        except AuthenticationUnavailable:
            raise LoginUnavailable(UNAVAILABLE) from None
        except (PyJWTError, TokenRefused, ValueError, TypeError) as exc:
            raise self._id_token_refused(type(exc).__name__) from None
        echo = claims.get("nonce")
        if not isinstance(echo, str) or not hmac.compare_digest(echo.encode(errors="surrogatepass"), nonce.encode()):
            raise self._id_token_refused("nonce")
        authorized_party = claims.get("azp", self._registration.client_id)
        has_other_audiences = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if authorized_party != self._registration.client_id or (has_other_audiences and "azp" not in claims):
            raise self._id_token_refused("azp")
        return claims

    def _unavailable(self, exc: IssuerUnavailable) -> LoginUnavailable:
        """Log `exc`, and return the exception to raise."""
        self._log.warn(
            "issuer", "People cannot sign in, because the OpenID issuer %s. Run `luma-mcp check` to test it", exc
        )
        return LoginUnavailable(UNAVAILABLE)

    def _id_token_refused(self, reason: str) -> LoginRefused:
        """Log the refusal, and return the exception to raise."""
        self._log.warn(
            "id_token",
            "An ID token was refused (%s), so a person could not sign in. The OpenID issuer sent an invalid token, or "
            "somebody else did in its place. If this happens to everybody, compare the issuer's configuration with "
            "docs/sign-in.md",
            reason,
        )
        return LoginRefused(NOT_SIGNED_IN)
