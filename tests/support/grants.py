"""Grants of sign-in, written to the database as if a person had signed in with some clients."""

import secrets

from app.adapters.auth.key_digest import load_pepper
from app.adapters.auth.person_vault import VaultPersonSealer
from app.adapters.auth.sign_in_mint import SignInMint
from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.sql.sign_in import sql_sign_in
from app.adapters.vault import Vault
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.sign_in import OAuthClient, Person, PersonSecrets, Registration
from app.ports.sign_in_store import AuthorizationCode, NewAccess, NewGrant, TokenLifetimes

NOWHERE = "http://127.0.0.1:9"
"""The issuer and redirect URI of the grants: an address at which nothing listens."""

LIFETIMES = TokenLifetimes(access=86_400.0, refresh=86_400.0, grant=86_400.0, grace=60.0)


async def signed_in(database_url: str, secret_key: str, grants: int = 1) -> list[str]:
    """Record a person with some grants, and return the access token of each."""
    database, vault = Database(database_url), Vault(secret_key)
    try:
        mint = SignInMint(await load_pepper(sql_directory(database).facts, vault))
        store, person_id = sql_sign_in(database), mint.person_id(NOWHERE, "person")
        sealed = VaultPersonSealer(vault).seal(person_id, PersonSecrets("person", "token-of-the-person"))
        await store.people.keep(Person(person_id, NOWHERE, "person", sealed))
        client, tokens = OAuthClient("client", "Client", (NOWHERE,), Registration.DYNAMIC), list[str]()
        for _ in range(grants):
            code = AuthorizationCode(secrets.token_hex(32), "client", NOWHERE, "c" * 43, PASSTHROUGH_SCOPES, person_id)
            await store.steps.add_code(code, 60.0)
            grant_id = secrets.token_hex(16)
            refresh = mint.first_refresh(grant_id)
            access = mint.access(refresh, PASSTHROUGH_SCOPES)
            new = NewGrant(grant_id, mint.digest(refresh), client, "127.0.0.1")
            token = NewAccess(mint.digest(access), PASSTHROUGH_SCOPES, LIFETIMES.access)
            await store.grants.redeem(code, new, token, LIFETIMES)
            tokens.append(access)
    finally:
        await database.aclose()
    return tokens
