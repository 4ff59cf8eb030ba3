"""Sign-in with any OpenID issuer: code flow with PKCE and nonce, and an ID token that is verified."""

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from cachetools import TTLCache
from jwt import PyJWT, PyJWTError
from jwt.types import Options

from app.adapters.auth.jwt.claims import ClaimNames, check_times, person_of
from app.adapters.auth.jwt.faults import IssuerUnavailable, TokenRefused
from app.adapters.auth.jwt.issuer_client import IssuerClient
from app.adapters.auth.jwt.issuer_keys import IssuerKeys
from app.adapters.auth.jwt.keys import ALGORITHMS
from app.adapters.auth.jwt.token_form import read_token
from app.domain.oauth import OFFLINE_ACCESS, s256
from app.domain.sign_in import PersonSecrets, visible_name
from app.ports.auth import AuthenticationUnavailable
from app.ports.sign_in import Liveness, LoginAttempt, LoginRefused, LoginUnavailable, SignedIn

SCOPES = "openid profile email"
METADATA_SECONDS = 3600.0
BAD_REQUEST = 400
LONGEST_TOKEN = 32_768

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
"""Times are judged by this service's own clock."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OidcClientRegistration:
    """What the issuer knows this service by, and the claim that names a person's team.

    Attributes:
        secret: None for a public client.

    """

    issuer: str
    client_id: str
    secret: str | None = field(repr=False)
    redirect_uri: str
    team_claim: str


class OidcClocks(Protocol):
    """Unix seconds, and seconds that never go back."""

    @property
    def wall(self) -> Callable[[], float]:
        """Return the clock of unix seconds."""
        ...

    @property
    def monotonic(self) -> Callable[[], float]:
        """Return the clock that never goes back."""
        ...


class OidcLogin:
    """The login of one OpenID issuer."""

    def __init__(
        self,
        app: OidcClientRegistration,
        client: IssuerClient,
        keys: IssuerKeys,
        admit: Callable[[SignedIn], Awaitable[None]],
        clocks: OidcClocks,
    ) -> None:
        """Sign people in at `app.issuer`, over `client`, with ID tokens that `keys` verify.

        `admit` raises LoginRefused for a person who may not use this service, and LoginUnavailable.
        """
        self._app = app
        self._client = client
        self._keys = keys
        self._admit = admit
        self._wall_clock = clocks.wall
        self._metadata: TTLCache[str, dict[str, Any]] = TTLCache(1, METADATA_SECONDS, clocks.monotonic)
        self._jwt = PyJWT(_OPTIONS)
        self._names = ClaimNames(app.team_claim, "preferred_username", (), {})

    @property
    def name(self) -> str:
        """Return the host of the issuer."""
        return urlsplit(self._app.issuer).hostname or self._app.issuer

    @property
    def origin(self) -> str:
        """Return the scheme, host and port of the issuer."""
        parts = urlsplit(self._app.issuer)
        return f"{parts.scheme}://{parts.netloc}"

    async def begin(self, attempt: LoginAttempt) -> str:
        """Return the URL of the login page. Raises LoginUnavailable."""
        metadata = await self._known()
        endpoint = self._endpoint(metadata, "authorization_endpoint")
        supported = metadata.get("scopes_supported")
        is_offline = isinstance(supported, list) and OFFLINE_ACCESS in supported
        query = {
            "response_type": "code",
            "client_id": self._app.client_id,
            "redirect_uri": self._app.redirect_uri,
            "scope": f"{SCOPES} {OFFLINE_ACCESS}" if is_offline else SCOPES,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": s256(attempt.verifier),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def finish(self, attempt: LoginAttempt, returned: Mapping[str, str]) -> SignedIn:
        """Return who has signed in. Raises LoginRefused and LoginUnavailable."""
        metadata = await self._known()
        names_issuer = metadata.get("authorization_response_iss_parameter_supported") is True
        if returned.get("iss", None if names_issuer else self._app.issuer) != self._app.issuer:
            raise LoginRefused(NOT_SIGNED_IN)
        if not returned.get("code"):
            raise LoginRefused(NOT_SIGNED_IN)
        form = {
            "grant_type": "authorization_code",
            "code": returned["code"],
            "redirect_uri": self._app.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        status, answer = await self._asked(metadata, form)
        if status != 200:  # noqa: PLR2004 - the status itself
            log.warning("The OpenID issuer did not exchange a code (status %d)", status)
            raise LoginRefused(NOT_SIGNED_IN)
        claims = await self._verified(answer.get("id_token"), attempt.nonce)
        person = person_of(claims, self._names)
        label = next((text for name in ("email", "name") if isinstance(text := claims.get(name), str)), person.name)
        refresh = answer.get("refresh_token")
        login = json.dumps({"refresh_token": refresh}) if isinstance(refresh, str) else None
        secrets = PersonSecrets(visible_name(label, person.name), login=login, teams=person.teams)
        signed_in = SignedIn(self._app.issuer, person.subject, secrets)
        await self._admit(signed_in)
        return signed_in

    async def check_liveness(self, secrets: PersonSecrets) -> tuple[Liveness, PersonSecrets]:
        """Return whether the issuer still renews the login; UNKNOWN if it gave no refresh token."""
        if secrets.login is None:
            return Liveness.UNKNOWN, secrets
        kept: dict[str, str] = json.loads(secrets.login)
        try:
            form = {"grant_type": "refresh_token", "refresh_token": kept["refresh_token"]}
            status, answer = await self._asked(await self._known(), form)
        except LoginUnavailable:
            return Liveness.UNKNOWN, secrets
        if status == BAD_REQUEST and answer.get("error") == "invalid_grant":
            return Liveness.DEAD, secrets
        if isinstance(refresh := answer.get("refresh_token"), str):
            return Liveness.ALIVE, replace(secrets, login=json.dumps({"refresh_token": refresh}))
        return Liveness.ALIVE if status == 200 else Liveness.UNKNOWN, secrets  # noqa: PLR2004 - the status itself

    async def aclose(self) -> None:
        """Do nothing: no connection is kept."""

    async def _asked(self, metadata: Mapping[str, Any], form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Send a form to the token endpoint. The secret goes where the issuer takes it (RFC 6749, section 2.3.1)."""
        methods = metadata.get("token_endpoint_auth_methods_supported")
        in_form = isinstance(methods, list) and "client_secret_post" in methods
        basic = None
        sent = {**form, "client_id": self._app.client_id}
        if self._app.secret is not None and in_form:
            sent["client_secret"] = self._app.secret
        elif self._app.secret is not None:
            basic = (self._app.client_id, self._app.secret)
        try:
            return await self._client.post_form(self._endpoint(metadata, "token_endpoint"), sent, basic)
        except IssuerUnavailable as exc:
            raise _unavailable(exc) from None

    async def _known(self) -> dict[str, Any]:
        if (metadata := self._metadata.get("")) is None:
            try:
                metadata = self._metadata[""] = await self._client.read_metadata()
            except IssuerUnavailable as exc:
                raise _unavailable(exc) from None
        return metadata

    def _endpoint(self, metadata: Mapping[str, Any], name: str) -> str:
        endpoint = metadata.get(name)
        if not isinstance(endpoint, str) or not self._client.is_usable(endpoint):
            raise _unavailable(IssuerUnavailable(f"names no {name}"))
        return endpoint

    async def _verified(self, id_token: object, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token for this sign-in. Raises LoginRefused and LoginUnavailable."""
        if not isinstance(id_token, str) or len(id_token) > LONGEST_TOKEN:
            raise LoginRefused(NOT_SIGNED_IN)
        token = read_token(id_token, self._app.issuer)
        if token is None or token.header["alg"] not in ALGORITHMS or "crit" in token.header:
            raise _forged("form")
        try:
            key = await self._keys.find(token.header.get("kid"), token.header["alg"])
            claims = self._jwt.decode(
                id_token,
                key.key,
                algorithms=[token.header["alg"]],
                audience=self._app.client_id,
                issuer=self._app.issuer,
            )
            check_times(claims, self._wall_clock())
        except AuthenticationUnavailable:
            raise LoginUnavailable(UNAVAILABLE) from None
        except (PyJWTError, TokenRefused, ValueError, TypeError) as exc:
            raise _forged(type(exc).__name__) from None
        given, party = claims.get("nonce"), claims.get("azp", self._app.client_id)
        is_for_others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and "azp" not in claims
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise _forged("nonce")
        if party != self._app.client_id or is_for_others:
            raise _forged("azp")
        return claims


def _unavailable(exc: IssuerUnavailable) -> LoginUnavailable:
    log.warning("The OpenID issuer cannot be used, because it %s: people cannot sign in", exc)
    return LoginUnavailable(UNAVAILABLE)


def _forged(reason: str) -> LoginRefused:
    log.warning(
        "An ID token was refused (%s): the OpenID issuer, or somebody in its place, has sent a wrong one", reason
    )
    return LoginRefused(NOT_SIGNED_IN)
