"""The rate of cached batches under an access token of sign-in, as a share of that under a passthrough token."""

import asyncio
import secrets
import statistics
import tempfile

from app.adapters.auth.key_digest import load_pepper
from app.adapters.auth.person_vault import SealedPeople
from app.adapters.auth.sign_in_mint import SignInMint
from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.sql.sign_in import sql_sign_in
from app.adapters.vault import Vault
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.sign_in import OAuthClient, Person, PersonSecrets, Registration
from app.ports.sign_in_store import AuthorizationCode, NewAccess, NewGrant, TokenLifetimes
from tests.benchmarks.filling import KEY
from tests.benchmarks.loads import batch, ids, load
from tests.benchmarks.rows import Bench
from tests.support.service import MODERN

NOWHERE = "http://127.0.0.1:9"
"""The login, which this measurement never needs."""

LIFETIMES = TokenLifetimes(access=86_400.0, refresh=86_400.0, grant=86_400.0, grace=60.0)


def share_of_passthrough(bench: Bench, rounds: int) -> float:
    """Return the median share over the rounds, in which both are measured in turn."""
    with tempfile.TemporaryDirectory(prefix="luma-mcp-bench-") as folder:
        url = f"sqlite:///{folder}/luma.db"
        access = asyncio.run(_signed_in(url))
        settings = {
            "database_url": url,
            "sign_in": "acedata",
            "public_url": NOWHERE,
            "acedata_client_id": "bench",
            "acedata_auth_url": NOWHERE,
            "acedata_platform_url": NOWHERE,
        }
        with bench.service(bench.backend, on=bench.core, settings=settings) as service:
            asked = {token: [batch(ids(50), MODERN, token)] for token in ("a-token", access)}
            shares = []
            for number in range(rounds + 1):
                rates = [load(service.url, one, seconds=1.0).rate for one in asked.values()]
                if number:  # the first round warms up
                    shares.append(rates[1] / rates[0])
    return statistics.median(shares)


async def _signed_in(url: str) -> str:
    """Record a person with a grant in the database at `url`, and return the access token."""
    database, vault = Database(url), Vault(KEY)
    try:
        mint = SignInMint(await load_pepper(sql_directory(database).facts, vault))
        store, person_id = sql_sign_in(database), mint.person_id(NOWHERE, "bench")
        sealed = SealedPeople(vault).seal(person_id, PersonSecrets("bench", "token-of-the-person"))
        await store.people.keep(Person(person_id, NOWHERE, "bench", sealed))
        code = AuthorizationCode(secrets.token_hex(32), "client", NOWHERE, "c" * 43, PASSTHROUGH_SCOPES, person_id)
        await store.steps.add_code(code, 60.0)
        client = OAuthClient("client", "Bench", (NOWHERE,), Registration.DYNAMIC)
        new = NewGrant(secrets.token_hex(16), "", client, "127.0.0.1")
        refresh = mint.first_refresh(new.id)
        access = mint.access(refresh, PASSTHROUGH_SCOPES)
        new = NewGrant(new.id, mint.digest(refresh), client, "127.0.0.1")
        token = NewAccess(mint.digest(access), PASSTHROUGH_SCOPES, LIFETIMES.access)
        await store.grants.redeem(code, new, token, LIFETIMES)
    finally:
        await database.aclose()
    return access
