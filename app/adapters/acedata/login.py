"""Sign-in with an AceDataCloud account: the Upstream port over AceDataCloud's OAuth server and platform API.

The person is read from the API. The access token is a JWT, but its signature cannot be verified here.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from app.adapters.acedata.login_http import LoginHttp, Reply
from app.adapters.acedata.platform import Platform
from app.domain.oauth import s256
from app.domain.sign_in import PersonSecrets, visible_name
from app.ports.sign_in import Liveness, LoginAttempt, LoginRefused, LoginUnavailable, SignedIn
from app.services.log_throttle import ThrottledLog

RENEW_BEFORE_EXPIRY_SECONDS = 120.0
"""Remaining life of an access token below which it is renewed before it is used."""

DEFAULT_TOKEN_SECONDS = 1_296_000.0
"""Life of an access token if the response has no `expires_in`: 15 days. Source: AceDataCloud's documentation."""

UNAUTHORIZED = 401
BAD_REQUEST = 400

NOT_SIGNED_IN = "AceDataCloud did not sign you in, so nothing was connected. Go back to the app and connect again."
NO_ACCOUNT = (
    "AceDataCloud did not tell this service which account you have signed in to, so nothing was connected. Ask the "
    "operator of this service to look at its log."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientRegistration:
    """The registration of this service as an OAuth client of AceDataCloud. `scopes` are separated by spaces."""

    client_id: str
    redirect_uri: str
    scopes: str


class AceDataLogin:
    """The login of AceDataCloud: OAuth's authorization code flow with PKCE, as a public client."""

    name = "AceDataCloud"

    def __init__(
        self,
        auth_url: str,
        auth: LoginHttp,
        platform: Platform,
        registration: ClientRegistration,
        wall_clock: Callable[[], float],
    ) -> None:
        """Use the OAuth server at `auth_url`, the base URL of `auth`. `wall_clock` returns Unix seconds."""
        self.origin = auth_url
        self._auth = auth
        self._platform = platform
        self._registration = registration
        self._wall_clock = wall_clock
        self._log = ThrottledLog(log)

    async def begin(self, attempt: LoginAttempt) -> str:
        """Return the URL of the login page."""
        query = {
            "response_type": "code",
            "client_id": self._registration.client_id,
            "redirect_uri": self._registration.redirect_uri,
            "scope": self._registration.scopes,
            "state": attempt.state,
            "code_challenge": s256(attempt.verifier),
            "code_challenge_method": "S256",
        }
        return f"{self.origin}/oauth2/authorize?{urlencode(query)}"

    async def finish(self, attempt: LoginAttempt, returned: Mapping[str, str]) -> SignedIn:
        """Exchange the code, and return the person with a credential. `returned` is the query of the redirect.

        Raises LoginRefused and LoginUnavailable.
        """
        if returned.get("iss", self.origin) != self.origin or not returned.get("code"):
            raise LoginRefused(NOT_SIGNED_IN)
        form = {
            "grant_type": "authorization_code",
            "code": returned["code"],
            "client_id": self._registration.client_id,
            "redirect_uri": self._registration.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        reply = await self._auth.send("POST", "/oauth2/token", form=form)
        if (tokens := self._tokens(reply)) is None:
            self._log.warn(
                "code",
                "AceDataCloud did not exchange an authorization code for tokens (%s), so a person could not sign in. "
                "If this happens to everybody, check LUMA_MCP_ACEDATA_CLIENT_ID",
                _known_error(reply),
            )
            raise LoginRefused(NOT_SIGNED_IN)
        profile = await self._auth.send("GET", "/api/v1/users/me", bearer=tokens["access_token"])
        if not profile.is_ok or (subject := profile.string_field("id")) is None:
            log.error(
                "Nobody can sign in: AceDataCloud's /users/me returned no id (status %d). For 403, add openid to "
                "LUMA_MCP_ACEDATA_SCOPES",
                profile.status,
            )
            raise LoginRefused(NO_ACCOUNT)
        credential = await self._platform.credential(tokens["access_token"])
        login = json.dumps(tokens | {"credential_id": credential.id})
        return SignedIn(self.origin, subject, PersonSecrets(_label(profile, subject), credential.token, login))

    async def check_liveness(self, secrets: PersonSecrets) -> tuple[Liveness, PersonSecrets]:
        """Return whether the login and the credential still exist, and the secrets to keep.

        An access token is renewed if it expires within RENEW_BEFORE_EXPIRY_SECONDS, or if AceDataCloud answers 401.
        """
        tokens: dict[str, Any] = json.loads(secrets.login or "{}")
        try:
            if tokens.get("ends_at", 0.0) - self._wall_clock() < RENEW_BEFORE_EXPIRY_SECONDS:
                return await self._renewed(secrets, tokens)
            profile = await self._auth.send("GET", "/api/v1/users/me", bearer=tokens["access_token"])
            if profile.status == UNAUTHORIZED:
                return await self._renewed(secrets, tokens, if_not_renewable=Liveness.DEAD)
            return await self._credential_liveness(secrets, tokens), secrets
        except LoginUnavailable:
            return Liveness.UNKNOWN, secrets

    async def _renewed(
        self, secrets: PersonSecrets, tokens: dict[str, Any], if_not_renewable: Liveness = Liveness.UNKNOWN
    ) -> tuple[Liveness, PersonSecrets]:
        """Renew the access token, and check the credential with it.

        Return `if_not_renewable` if there is no refresh token, and DEAD if AceDataCloud refuses it as an invalid grant.
        """
        if "refresh_token" not in tokens:
            return if_not_renewable, secrets
        form = {
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "client_id": self._registration.client_id,
        }
        reply = await self._auth.send("POST", "/oauth2/token", form=form)
        if (renewed := self._tokens(reply)) is None:
            is_dead = reply.status == BAD_REQUEST and reply.body.get("error") == "invalid_grant"
            return Liveness.DEAD if is_dead else Liveness.UNKNOWN, secrets
        new_secrets = replace(secrets, login=json.dumps(tokens | renewed))
        try:
            return await self._credential_liveness(new_secrets, tokens | renewed), new_secrets
        except LoginUnavailable:
            return Liveness.UNKNOWN, new_secrets

    async def _credential_liveness(self, secrets: PersonSecrets, tokens: Mapping[str, Any]) -> Liveness:
        """Return DEAD if the platform no longer lists the credential; ALIVE otherwise, also if that is unclear.

        No call can be made with a deleted credential. A new sign-in creates another credential.

        Raises LoginUnavailable.
        """
        if "credential_id" not in tokens or secrets.credential is None:
            return Liveness.ALIVE
        is_listed = await self._platform.lists_credential(tokens["access_token"], tokens["credential_id"])
        return Liveness.DEAD if is_listed is False else Liveness.ALIVE

    def _tokens(self, reply: Reply) -> dict[str, Any] | None:
        """Return the tokens in a response of the token endpoint; None if it has no access token."""
        access, refresh = reply.string_field("access_token"), reply.string_field("refresh_token")
        if not reply.is_ok or access is None:
            return None
        seconds = reply.body.get("expires_in")
        life_seconds = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else DEFAULT_TOKEN_SECONDS
        tokens: dict[str, Any] = {"access_token": access, "ends_at": self._wall_clock() + life_seconds}
        return tokens | ({"refresh_token": refresh} if refresh is not None else {})

    async def find_fault(self) -> str | None:
        """Send each server a request without a token. Return None if both answer as expected.

        Otherwise return words that follow the name of the login, and say which server does not answer.
        """
        try:
            await self._auth.send("GET", "/api/v1/users/me")
        except LoginUnavailable:
            return "does not answer as expected"
        try:
            await self._platform.probe()
        except LoginUnavailable:
            return "answers, but the platform API (LUMA_MCP_ACEDATA_PLATFORM_URL) does not answer as expected"
        return None

    async def aclose(self) -> None:
        """Close the connections to the login and the platform."""
        await self._auth.aclose()
        await self._platform.aclose()


_ERRORS = ("invalid_request", "invalid_client", "invalid_grant", "access_denied", "unsupported_grant_type")


def _known_error(reply: Reply) -> str:
    """Return the error code of a reply for the log, or the status if the code is not documented.

    No untrusted text is logged.
    """
    error = reply.body.get("error")
    return str(error) if error in _ERRORS else f"status {reply.status}"


def _label(profile: Reply, subject: str) -> str:
    """Return the person's email address, nickname or user name as one visible line; `subject` if there is none."""
    label = next((text for name in ("email", "nickname", "username") if (text := profile.string_field(name))), None)
    return visible_name(label, subject)
