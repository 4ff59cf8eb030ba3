"""Attacks with forged team keys and access tokens, whose checksums are public, and by a member over its limit."""

import secrets
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.adapters.sql.rate_limits import SqlTeamLimits
from app.adapters.vault import Vault
from app.domain import api_key_format
from app.domain.rate_limit import Limits
from app.domain.sign_in_tokens import ACCESS
from app.ports.budgets import BudgetOwner
from tests.attacks import sign_in_attacks
from tests.attacks.attacks import Case, with_body
from tests.attacks.flooding import flood
from tests.attacks.target import Figure, Target, connect, raw
from tests.support.grants import signed_in
from tests.support.service import MODERN, envelope, padded
from tests.support.teams import ACTOR, Teams

FIRST_USES = 10
USES = 300
"""Uses of a known key after a change of the directory. They take longer than the service needs to see the change."""

CALLS_PER_MINUTE = 60
MEMBER_READS = 15
"""The reads of the member whose median counts, beside the flood of another member of the same team."""

SETTINGS = {
    "database_url": "sqlite:///{folder}/attacked.db",
    "auth": "passthrough,keys",
    "trusted_proxies": "127.0.0.1",
}
"""The attack comes from many addresses: refused tokens of one address are throttled."""


def _call(key: str, **headers: str) -> bytes:
    message, needed = envelope("tools/call", {"name": "luma_list_actions", "arguments": {}}, MODERN)
    return raw(message, {**needed, **headers}, key)


def forged_key() -> str:
    """Return a team key that nobody holds."""
    return api_key_format.encode(secrets.token_bytes(api_key_format.RANDOM_BYTES))


def forged_access_token() -> str:
    """Return an access token that nobody holds."""
    return ACCESS.encode(secrets.token_bytes(ACCESS.size))


async def forging(forge: Callable[[], str], port: int, _client: int) -> None:
    """Call with one forged token after another, each from another address."""
    connection = await connect(port)
    for _ in count():
        address = ".".join(map(str, secrets.token_bytes(3)))
        await connection.send(_call(forge(), **{"x-forwarded-for": f"11.{address}"}))
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
        async with flood(target, partial(forging, forged_key), 300):
            refused = [await _is_refused(target, key) for key in keys]
            await teams.directory.teams.add_member("film", "ben", ACTOR)
            refused_again = [await _is_refused(target, known) for _ in range(USES)]
            target.figures.append(Figure(refused.count(True), f"of {FIRST_USES} first uses refused", 0))
            target.figures.append(Figure(refused_again.count(True), f"of {USES} uses after a change refused", 0))
            yield
    finally:
        await database.aclose()


@asynccontextmanager
async def forged_access_tokens(target: Target) -> AsyncIterator[None]:
    """Call with forged access tokens on 300 connections. The figure is first uses of real ones."""
    tokens = await signed_in(target.settings["database_url"], target.settings["secret_key"], FIRST_USES)
    async with flood(target, partial(forging, forged_access_token), 300):
        refused = [await _is_refused(target, token) for token in tokens]
        target.figures.append(Figure(refused.count(True), f"of {FIRST_USES} first uses refused", 0))
        yield


async def calling_over_a_limit(key: str, port: int, client: int) -> None:
    """Call without end with the key of a limited member; every second client sends 240 KB with each call."""
    request = _call(key)
    if client % 2:
        message, headers = envelope("tools/call", {"name": "luma_list_actions", "arguments": {}}, MODERN)
        request = with_body(padded(message, '"' + "a" * 240_000 + '"'), headers, key)
    connection = await connect(port)
    for _ in count():
        await connection.send(request)
        await connection.answer()


async def _reads(target: Target, key: str) -> tuple[float, int]:
    """Return the median seconds of a member's reads of the database, and how many of them were refused."""
    request = raw(*envelope("tools/call", {"name": "luma_list_tasks", "arguments": {}}, MODERN), key)
    times, refused = list[float](), 0
    for _ in range(MEMBER_READS):
        started = time.perf_counter()
        connection = await target.connect(request)
        refused += await connection.result() is None
        connection.hang_up()
        times.append(time.perf_counter() - started)
    return statistics.median(times), refused


@asynccontextmanager
async def member_over_its_limit(target: Target) -> AsyncIterator[None]:
    """Call far over the limit of one member on 300 connections. The figures are reads of another one of the team."""
    database = Database(target.settings["database_url"])
    teams = Teams(sql_directory(database), Vault(target.settings["secret_key"]))
    try:
        await teams.team("film", "a-credential")
        anna, ben = await teams.member("film", "anna"), await teams.member("film", "ben")
        limits = Limits(calls_per_minute=CALLS_PER_MINUTE)
        await SqlTeamLimits(database).set(BudgetOwner("film", member="anna"), limits, ACTOR)
        while await _is_refused(target, ben) or await _is_refused(target, anna):
            pass
        async with flood(target, partial(calling_over_a_limit, anna), 300):
            seconds, refused = await _reads(target, ben)
            _, of_anna = await _reads(target, anna)
            target.figures.append(Figure(refused, f"of {MEMBER_READS} reads of another member refused", 0))
            target.figures.append(Figure(seconds * 1000, "ms, the median of those", 1000))
            target.figures.append(Figure(MEMBER_READS - of_anna, "reads of the member itself passed", 0))
            yield
    finally:
        await database.aclose()


KEY_ROWS = (
    Case("300 connections with forged team keys", "15 of 15 first uses of a key refused", forged_keys, 0.1, SETTINGS),
    Case("300 connections of a team's member over its limit", "", member_over_its_limit, 0.1, SETTINGS),
)

ACCESS_TOKEN_ROWS = (
    Case(
        "300 connections with forged access tokens",
        "12 of 12 first uses of a token refused",
        forged_access_tokens,
        0.1,
        sign_in_attacks.SETTINGS,
    ),
)
