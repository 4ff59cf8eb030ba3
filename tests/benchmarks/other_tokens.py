"""The rate of cached batches under an access token and a team key, as shares of that under a passthrough token."""

import asyncio
import secrets
import statistics
import tempfile
from typing import NamedTuple

from app.adapters.auth.key_digest import load_key_digest
from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.vault import Vault
from app.domain import api_key_format
from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.teams import Actor, TeamCredential
from app.ports.directory import NewKey
from tests.benchmarks.filling import KEY
from tests.benchmarks.loads import batch, ids, load
from tests.benchmarks.rows import Bench
from tests.support.grants import NOWHERE, signed_in
from tests.support.service import MODERN

ROUND_SECONDS = 0.5
"""How long each token calls in a round. Many short rounds find a share that few long ones miss where the speed of the
machine varies.
"""

ACTOR = Actor("cli:bench")


class Shares(NamedTuple):
    """Rates of cached batches, as shares of that under a passthrough token."""

    access_token: float
    team_key: float


def shares_of_passthrough(bench: Bench, rounds: int) -> Shares:
    """Return the median shares over the rounds, in which all are measured in turn, each time in another order."""
    with tempfile.TemporaryDirectory(prefix="luma-mcp-bench-") as folder:
        url = f"sqlite:///{folder}/luma.db"
        (access,), key = asyncio.run(signed_in(url, KEY)), asyncio.run(_member(url))
        settings = {
            "database_url": url,
            "auth": "passthrough,keys",
            "sign_in": "acedata",
            "public_url": NOWHERE,
            "acedata_client_id": "bench",
            "acedata_auth_url": NOWHERE,
            "acedata_platform_url": NOWHERE,
        }
        with bench.service(bench.backend, on=bench.core, settings=settings) as service:
            asked = [[batch(ids(50), MODERN, token)] for token in ("a-token", access, key)]
            found = []
            for number in range(rounds + 1):
                order = [(number + place) % len(asked) for place in range(len(asked))]
                rate = {which: load(service.url, asked[which], seconds=ROUND_SECONDS).rate for which in order}
                if number:  # the first round warms up
                    found.append((rate[1] / rate[0], rate[2] / rate[0]))
    return Shares(*map(statistics.median, zip(*found, strict=True)))


async def _member(url: str) -> str:
    """Make a team that may read any task, with a credential and a member, and return the member's key."""
    database, vault = Database(url), Vault(KEY)
    try:
        directory = sql_directory(database)
        team = await directory.teams.create("bench", "UTC", ACTOR)
        await directory.teams.change("bench", ACTOR, allows_foreign_ids=True)
        await directory.teams.add_member("bench", "anna", ACTOR)
        sealed = vault.seal_credential(team.id, "credential", "acedata", "token-of-the-team")
        await directory.credentials.add(TeamCredential("credential", team.id, "acedata", sealed, "…", 0.0), ACTOR)
        key = api_key_format.encode(secrets.token_bytes(api_key_format.RANDOM_BYTES))
        digest = (await load_key_digest(directory.facts, vault)).of(key)
        new = NewKey(secrets.token_hex(6), digest, api_key_format.hint(key))
        await directory.keys.create("bench", "anna", new, ACTOR, scopes=PASSTHROUGH_SCOPES)
    finally:
        await database.aclose()
    return key
