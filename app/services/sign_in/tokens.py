"""The service of the token and revocation endpoints: exchanges codes, refreshes and revokes tokens."""

import secrets
from dataclasses import dataclass, field
from typing import NoReturn

from app.domain.access import Scope
from app.domain.oauth import OAuthError, is_our_resource, matches_challenge, narrowed_scopes, scopes_at
from app.domain.redirects import shown_host
from app.domain.sign_in import Grant, OAuthClient, RefreshJudgement, RevokeReason, judge_refresh
from app.domain.sign_in_tokens import CODE
from app.ports.sign_in import SignInTelemetry, TokenMint
from app.ports.sign_in_store import AuthorizationCode, NewAccess, NewGrant, SignInStore, TokenLifetimes
from app.services.sign_in.lazy_token_mint import LazyTokenMint
from app.services.sign_in.liveness import LoginCheck

MAX_ATTEMPTS = 4
"""Attempts of one refresh. An attempt fails if another refresh of the same grant comes between."""

_BAD_CODE = "The authorization code is not valid, has expired, or is not this client's: start the sign-in again."
_BAD_REFRESH = "The refresh token is not valid, has ended, or is not this client's: start the sign-in again."


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """The tokens for a client.

    Attributes:
        seconds: lifetime of the access token.
        scopes: the scopes of the access token.

    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: float
    scopes: frozenset[Scope]


class TokenService:
    """Issues and revokes tokens. Every method raises DatabaseUnavailable."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that tokens depend on
        self,
        store: SignInStore,
        mint: LazyTokenMint,
        logins: LoginCheck,
        lifetimes: TokenLifetimes,
        telemetry: SignInTelemetry,
        public_url: str,
    ) -> None:
        """Store digests of tokens in `store`. `public_url` is the issuer, and the resource's URL without /mcp."""
        self._store = store
        self._mint = mint
        self._logins = logins
        self._lifetimes = lifetimes
        self._telemetry = telemetry
        self._public_url = public_url

    async def exchange(
        self, client: OAuthClient, code: str, verifier: str | None, *, redirect_uri: str | None, resource: str | None
    ) -> IssuedTokens:
        """Return the tokens for an authorization code, and record its grant. The second use of a code ends the grant.

        Raises OAuthError if the code, the verifier, the redirect URI or the resource does not fit.
        """
        self._check_resource(resource)
        mint = await self._mint.load()
        issued = await self._store.steps.code(mint.digest(code)) if CODE.is_well_formed(code) else None
        if issued is None:
            raise OAuthError("invalid_grant", _BAD_CODE)
        if issued.grant_id is not None:
            await self._end(issued.grant_id, RevokeReason.CODE)
            raise OAuthError("invalid_grant", _BAD_CODE)
        if issued.is_expired or issued.client_id != client.id or redirect_uri not in (None, issued.redirect_uri):
            raise OAuthError("invalid_grant", _BAD_CODE)
        if not matches_challenge(verifier, issued.challenge):
            raise OAuthError("invalid_grant", "The code_verifier does not fit the code_challenge of this sign-in.")
        return await self._redeem(mint, client, issued, _scopes_at(resource, issued.scopes))

    async def _redeem(
        self, mint: TokenMint, client: OAuthClient, code: AuthorizationCode, scopes: frozenset[Scope]
    ) -> IssuedTokens:
        """Record a grant, and return its tokens, of which the access token has `scopes`.

        Raises OAuthError if another request has used the code meanwhile.
        """
        grant_id = secrets.token_hex(16)
        refresh = mint.first_refresh(grant_id)
        access = mint.access(refresh, scopes)
        new = NewGrant(grant_id, mint.digest(refresh), client, shown_host(code.redirect_uri))
        if await self._store.grants.redeem(code, new, self._new_access(mint, access, scopes), self._lifetimes) is None:
            raise OAuthError("invalid_grant", _BAD_CODE)
        await self._store.clients.note_used(client.id)
        self._telemetry.granted(client.registration, client.name)
        return IssuedTokens(access, refresh, self._lifetimes.access, scopes)

    async def refresh(
        self, client: OAuthClient, token: str, *, scope: str | None, resource: str | None
    ) -> IssuedTokens:
        """Return the next tokens for a refresh token.

        A replaced refresh token is accepted during its grace period. After that, its use ends the grant. The login is
        checked with the upstream from time to time.
        Raises OAuthError if the token, the scope or the resource is refused, or the login has ended, and
        "temporarily_unavailable" if too many refreshes of the grant happen at once.
        """
        self._check_resource(resource)
        mint = await self._mint.load()
        grant_id = mint.grant_of(token)
        for _ in range(MAX_ATTEMPTS):
            grant_and_time = await self._store.grants.grant(grant_id) if grant_id is not None else None
            if grant_and_time is None or grant_and_time[0].client_id != client.id:
                self._telemetry.refreshed("invalid")
                raise OAuthError("invalid_grant", _BAD_REFRESH)
            grant, now = grant_and_time
            judgement = judge_refresh(grant, mint.digest(token), now, self._lifetimes.grace)
            if judgement in (RefreshJudgement.ENDED, RefreshJudgement.REPLAYED):
                await self._refuse(grant, judgement)
            if judgement is RefreshJudgement.CURRENT:
                await self._check_login(grant)
            scopes = _scopes_at(resource, narrowed_scopes(scope, grant.scopes))
            if (issued := await self._rotate(mint, grant, token, judgement, scopes)) is not None:
                self._telemetry.refreshed(judgement)
                return issued
        raise OAuthError("temporarily_unavailable", "Many refreshes of this token are under way. Try again shortly.")

    async def _rotate(
        self, mint: TokenMint, grant: Grant, token: str, judgement: RefreshJudgement, scopes: frozenset[Scope]
    ) -> IssuedTokens | None:
        """Record and return the tokens that follow `token`; None if another refresh of the grant has come between."""
        refresh = mint.successor(token)
        access = mint.access(refresh, scopes)
        new = self._new_access(mint, access, scopes)
        if judgement is RefreshJudgement.CURRENT:
            is_done = await self._store.grants.rotate(grant, mint.digest(refresh), new, self._lifetimes)
            await self._store.clients.note_used(grant.client_id)
        else:
            is_done = await self._store.grants.renew_access(grant, new)
        return IssuedTokens(access, refresh, self._lifetimes.access, scopes) if is_done else None

    async def _refuse(self, grant: Grant, judgement: RefreshJudgement) -> NoReturn:
        self._telemetry.refreshed(judgement)
        if judgement is RefreshJudgement.REPLAYED:
            await self._end(grant.id, RevokeReason.REPLAY)
        raise OAuthError("invalid_grant", _BAD_REFRESH)

    async def _check_login(self, grant: Grant) -> None:
        person = await self._store.people.person(grant.person_id)
        if person is None or not await self._logins.check(person):
            self._telemetry.refreshed("dead_login")
            raise OAuthError("invalid_grant", "The login that this access rests on has ended: sign in again.")

    async def revoke(self, client: OAuthClient, token: str) -> None:
        """End the grant of one of the client's tokens. Any other token is ignored, which is no error (RFC 7009)."""
        mint = await self._mint.load()
        grant_id = mint.grant_of(token)
        if mint.is_access(token):
            holder = (await self._store.grants.access([digest := mint.digest(token)])).get(digest)
            grant_id = holder.grant.id if holder is not None else None
        grant_and_time = await self._store.grants.grant(grant_id) if grant_id is not None else None
        if grant_and_time is not None and grant_and_time[0].client_id == client.id:
            await self._end(grant_and_time[0].id, RevokeReason.CLIENT)

    async def _end(self, grant_id: str, reason: RevokeReason) -> None:
        if await self._store.grants.revoke(grant_id, reason) is not None:
            self._telemetry.grant_ended(reason)

    def _check_resource(self, resource: str | None) -> None:
        if resource and not is_our_resource(resource, self._public_url):
            raise OAuthError("invalid_target", f"This server issues tokens for {self._public_url}/mcp alone.")

    def _new_access(self, mint: TokenMint, access: str, scopes: frozenset[Scope]) -> NewAccess:
        return NewAccess(mint.digest(access), scopes, self._lifetimes.access)


def _scopes_at(resource: str | None, granted: frozenset[Scope]) -> frozenset[Scope]:
    """Return the granted scopes that are valid at a resource. Raises OAuthError if there are none."""
    if not (scopes := scopes_at(resource, granted)):
        raise OAuthError("invalid_scope", "The read-only endpoint needs the scope read, which was not granted.")
    return scopes
