"""A directory of teams for tests."""

import secrets

from app.adapters.auth.key_digest import KeyDigest
from app.adapters.sql.directory import sql_directory
from app.adapters.sql.engine import Database
from app.domain import api_key_format
from app.domain.teams import Actor
from app.ports.directory import Directory, NewKey
from tests.support.clock import HandClock

ACTOR = Actor("cli:tester", "request-1")
DIGEST = KeyDigest(b"a pepper for tests")


def directory_at(database: Database, clock: HandClock) -> Directory:
    """Return the directory in `database`, whose clock is set by hand."""
    return sql_directory(database, clock.sql)


def new_key() -> tuple[str, NewKey]:
    """Return a key, and what the directory records of it."""
    key = api_key_format.encode(secrets.token_bytes(api_key_format.RANDOM_BYTES))
    return key, NewKey(secrets.token_hex(6), DIGEST.of(key), api_key_format.hint(key))
