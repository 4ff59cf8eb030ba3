"""AccessTokenAuthenticator: a token that this service has not made costs no look-up in the database."""

import secrets
from typing import Any

from app.adapters.auth.access_tokens import AccessTokenAuthenticator, CredentialHooks
from app.adapters.auth.sign_in_mint import SignInMint
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.sign_in_tokens import ACCESS
from app.services.sign_in.lazy_token_mint import LazyTokenMint
from tests.support.clock import HandClock

MINT = SignInMint(b"a pepper for tests")


class Lookups:
    """A cache without any token, which counts look-ups."""

    def __init__(self) -> None:
        self.count = 0

    def known(self, _digest: str) -> None:
        return None

    async def token(self, _digest: str) -> None:
        self.count += 1


async def _mint() -> SignInMint:
    return MINT


async def test_only_tokens_of_this_service_are_looked_up(clock: HandClock) -> None:
    lookups: Any = Lookups()
    nothing: Any = None
    hooks = CredentialHooks(nothing, nothing, nothing)
    authenticator = AccessTokenAuthenticator(lookups, LazyTokenMint(_mint), clock, str, hooks)
    for _ in range(3):
        assert await authenticator.authenticate(ACCESS.encode(secrets.token_bytes(ACCESS.size))) is None
    assert lookups.count == 0
    ended = MINT.access(MINT.first_refresh("0" * 32), PASSTHROUGH_SCOPES)
    assert await authenticator.authenticate(ended) is None
    assert lookups.count == 1
