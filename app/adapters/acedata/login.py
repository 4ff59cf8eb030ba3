"""Sign-in with an AceDataCloud account: the Upstream over its OAuth server and its platform API.

Who has signed in is asked of the server. The access token is a JWT, which is never read: nothing would verify it.
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

AHEAD_SECONDS = 120.0
"""An access token that ends so soon is renewed before it is used."""

USUAL_SECONDS = 1_296_000.0
"""The life of an access token where the answer does not say it: 15 days, as documented."""

UNAUTHORIZED = 401
BAD_REQUEST = 400

NOT_SIGNED_IN = "AceDataCloud did not sign you in, so nothing was connected. Go back to the app and connect again."
NO_ACCOUNT = "AceDataCloud does not say which account you have signed in to, so nothing was connected."

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoginApp:
    """What AceDataCloud knows this service by: a client id, where its login pages lead back to, and scopes."""

    client_id: str
    redirect_uri: str
    scopes: str


class AceDataLogin:
    """The login of AceDataCloud, code flow with PKCE as a public client."""

    name = "AceDataCloud"

    def __init__(
        self, auth_url: str, auth: LoginHttp, platform: Platform, app: LoginApp, wall_clock: Callable[[], float]
    ) -> None:
        """Sign people in at `auth_url`, which `auth` sends requests to."""
        self.origin = auth_url
        self._auth = auth
        self._platform = platform
        self._app = app
        self._wall_clock = wall_clock

    async def begin(self, attempt: LoginAttempt) -> str:
        """Return the URL of the login page."""
        query = {
            "response_type": "code",
            "client_id": self._app.client_id,
            "redirect_uri": self._app.redirect_uri,
            "scope": self._app.scopes,
            "state": attempt.state,
            "code_challenge": s256(attempt.verifier),
            "code_challenge_method": "S256",
        }
        return f"{self.origin}/oauth2/authorize?{urlencode(query)}"

    async def finish(self, attempt: LoginAttempt, returned: Mapping[str, str]) -> SignedIn:
        """Return who has signed in, with a credential. Raises LoginRefused and LoginUnavailable."""
        if returned.get("iss", self.origin) != self.origin or not returned.get("code"):
            raise LoginRefused(NOT_SIGNED_IN)
        form = {
            "grant_type": "authorization_code",
            "code": returned["code"],
            "client_id": self._app.client_id,
            "redirect_uri": self._app.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        reply = await self._auth.send("POST", "/oauth2/token", form=form)
        if (tokens := self._tokens(reply)) is None:
            log.warning("AceDataCloud did not exchange a code (%s)", _known_error(reply))
            raise LoginRefused(NOT_SIGNED_IN)
        person = await self._auth.send("GET", "/api/v1/users/me", bearer=tokens["access_token"])
        if not person.is_ok or (subject := person.text("id")) is None:
            log.error(
                "AceDataCloud does not name the person (status %d): LUMA_MCP_ACEDATA_SCOPES needs openid", person.status
            )
            raise LoginRefused(NO_ACCOUNT)
        credential = await self._platform.credential(tokens["access_token"])
        login = json.dumps(tokens | {"credential_id": credential.id})
        return SignedIn(self.origin, subject, PersonSecrets(_label(person, subject), credential.token, login))

    async def alive(self, secrets: PersonSecrets) -> tuple[Liveness, PersonSecrets]:
        """Return whether login and credential are still there. The access token is renewed if it has ended."""
        tokens: dict[str, Any] = json.loads(secrets.login or "{}")
        try:
            if tokens.get("ends_at", 0.0) - self._wall_clock() < AHEAD_SECONDS:
                return await self._renewed(secrets, tokens)
            person = await self._auth.send("GET", "/api/v1/users/me", bearer=tokens["access_token"])
            if person.status == UNAUTHORIZED:
                return await self._renewed(secrets, tokens, otherwise=Liveness.DEAD)
            return await self._with_credential(secrets, tokens), secrets
        except LoginUnavailable:
            return Liveness.UNKNOWN, secrets

    async def _renewed(
        self, secrets: PersonSecrets, tokens: dict[str, Any], otherwise: Liveness = Liveness.UNKNOWN
    ) -> tuple[Liveness, PersonSecrets]:
        """Renew the access token, and check the credential with it. Return `otherwise` without a refresh token."""
        if "refresh_token" not in tokens:
            return otherwise, secrets
        form = {
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "client_id": self._app.client_id,
        }
        reply = await self._auth.send("POST", "/oauth2/token", form=form)
        if (renewed := self._tokens(reply)) is None:
            is_dead = reply.status == BAD_REQUEST and reply.body.get("error") == "invalid_grant"
            return Liveness.DEAD if is_dead else Liveness.UNKNOWN, secrets
        kept = replace(secrets, login=json.dumps(tokens | renewed))
        try:
            return await self._with_credential(kept, tokens | renewed), kept
        except LoginUnavailable:
            return Liveness.UNKNOWN, kept

    async def _with_credential(self, secrets: PersonSecrets, tokens: Mapping[str, Any]) -> Liveness:
        """Return DEAD for a credential that was deleted: no call can be made with it. A new sign-in repairs that."""
        if "credential_id" not in tokens or secrets.credential is None:
            return Liveness.ALIVE
        is_there = await self._platform.has(tokens["access_token"], tokens["credential_id"])
        return Liveness.DEAD if is_there is False else Liveness.ALIVE

    def _tokens(self, reply: Reply) -> dict[str, Any] | None:
        """Return the tokens in an answer of the token endpoint; None if there are none."""
        access, refresh = reply.text("access_token"), reply.text("refresh_token")
        if not reply.is_ok or access is None:
            return None
        seconds = reply.body.get("expires_in")
        lives = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else USUAL_SECONDS
        found: dict[str, Any] = {"access_token": access, "ends_at": self._wall_clock() + lives}
        return found | ({"refresh_token": refresh} if refresh is not None else {})

    async def aclose(self) -> None:
        """Close the connections to the login and the platform."""
        await self._auth.aclose()
        await self._platform.aclose()


_ERRORS = ("invalid_request", "invalid_client", "invalid_grant", "access_denied", "unsupported_grant_type")


def _known_error(reply: Reply) -> str:
    """Return the documented error in a reply, for the log; foreign text is not repeated."""
    error = reply.body.get("error")
    return str(error) if error in _ERRORS else f"status {reply.status}"


def _label(person: Reply, subject: str) -> str:
    """Return the name that the person knows the account by."""
    found = next((text for name in ("email", "nickname", "username") if (text := person.text(name))), None)
    return visible_name(found, subject)
