"""Attacks with forged team keys, which have the right form: their checksum is public."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.vault import Vault
from app.domain import api_key_format
from tests.attacks.attacks import Row
from tests.attacks.flooding import flood
from tests.attacks.target import Figure, Target, connect, raw
from tests.support.service import MODERN, envelope
from tests.support.teams import ACTOR, Teams

FIRST_USES = 10
USES = 300
"""Uses of a known key after a change of the directory. They take longer than the service needs to see the change."""

SETTINGS = {
    "database_url": "sqlite:///{folder}/attacked.db",
    "auth": "passthrough,keys",
    "trusted_proxies": "127.0.0.1",
}
"""The attack comes from many addresses: refused tokens of one address are throttled."""


def _call(key: str, **headers: str) -> bytes:
    message, needed = envelope("tools/call", {"name": "luma_list_actions", "arguments": {}}, MODERN)
    return raw(message, {**needed, **headers}, key)


async def forging(port: int, _client: int) -> None:
    """Call with one forged key after another, each from another address."""
    connection = await connect(port)
    for _ in count():
        key = api_key_format.encode(secrets.token_bytes(api_key_format.RANDOM_BYTES))
        address = ".".join(map(str, secrets.token_bytes(3)))
        await connection.send(_call(key, **{"x-forwarded-for": f"11.{address}"}))
        await connection.answer()


async def _is_refused(target: Target, key: str) -> bool:
    connection = await target.connect(_call(key))
    status = await connection.status()
    connection.hang_up()
    return status != 200


@asynccontextmanager
async def forged_keys(target: Target) -> AsyncIterator[None]:
    """Call with forged keys on 300 connections. The figures are first uses of real keys, and uses after a change."""
    database = Database(target.settings["database_url"])
    teams = Teams(sql_directory(database), Vault(target.settings["secret_key"]))
    try:
        await teams.team("film", "a-credential")
        keys = [await teams.member("film", "anna"), *[await teams.key("film", "anna") for _ in range(FIRST_USES)]]
        known = keys.pop()
        while await _is_refused(target, known):
            pass
        async with flood(target, forging, 300):
            refused = [await _is_refused(target, key) for key in keys]
            await teams.directory.teams.add_member("film", "ben", ACTOR)
            refused_again = [await _is_refused(target, known) for _ in range(USES)]
            target.figures.append(Figure(refused.count(True), f"of {FIRST_USES} first uses refused", 0))
            target.figures.append(Figure(refused_again.count(True), f"of {USES} uses after a change refused", 0))
            yield
    finally:
        await database.aclose()


KEY_ROWS = (
    Row("300 connections with forged team keys", "15 of 15 first uses of a key refused", forged_keys, 0.1, SETTINGS),
)
