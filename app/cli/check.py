"""`luma-mcp check`: shows each setting with its source, and tests the services that the settings name."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.composition import Assembly, assemble
from app.ports.repositories import DatabaseTooNew, DatabaseUnavailable
from app.ports.store import StoreUnavailable
from app.services.purchases.shared_database import MISMATCH
from app.services.tasks.store_probe import explained, probe
from app.settings import PREFIX, Settings, origins_of, require_key, unknown_variables

SECONDS = 5.0
MASK = "********"
OLDER = "; the next start, or `luma-mcp database upgrade`, brings it up to date"
_CREDENTIALS = re.compile(r"//.*@")
"""User name and password in a URL, also where a sign in the password was not escaped."""


async def check_everything(settings: Settings, say: Callable[[str], None], *, env_file: str | None) -> bool:
    """Return whether the service could run as set, after saying all that was found. Raises SettingsError."""
    _say_settings(settings, say, env_file)
    for name in unknown_variables(env_file):
        say(f"warning: {name} is not a setting; is it misspelt?")
    require_key(settings, 1)
    assembly = assemble(settings, base_url="http://127.0.0.1:8000")
    async with assembly.looking():
        database, store = await _database_answers(assembly, say), await _store_answers(assembly, settings, say)
        backend = await _backend_answers(assembly, settings, say)
        if store:
            await _say_callbacks(assembly, settings, say)
    return database and store and backend


def _say_settings(settings: Settings, say: Callable[[str], None], env_file: str | None) -> None:
    origins = origins_of(settings, env_file)
    for name in type(settings).model_fields:
        variable = f"{PREFIX}{name.upper()}"
        say(f"{variable} = {_shown(getattr(settings, name))}  ({origins[variable]})")


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    return "unset" if value is None else _CREDENTIALS.sub(f"//{MASK}@", str(value))


async def _database_answers(assembly: Assembly, say: Callable[[str], None]) -> bool:
    database, shared = assembly.persistence.database, assembly.persistence.shared
    name = f"database: {database.kind} at {database.place}"
    try:
        facts = await database.look()
    except DatabaseTooNew as exc:
        say(f"{name}: {exc}")
        return False
    except DatabaseUnavailable as exc:
        say(f"{name} {exc}. Calls with an idempotency key would be refused, others not be recorded")
        return False
    if facts is None:
        say(f"{name} is made when the service starts")
        return True
    say(f"{name} answers, schema version {facts.version}{'' if facts.is_newest else OLDER}")
    if is_other := await shared.differs(facts.id):
        say(f"database: {MISMATCH}")
    return not is_other


async def _store_answers(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> bool:
    if settings.redis_url is None:
        say("cache: in this process's memory")
        return True
    host = _host_of(settings.redis_url.get_secret_value())
    try:
        await probe(assembly.shared.store, assembly.shared.coordination, assembly.shared.keys, with_channel=True)
    except StoreUnavailable as exc:
        say(f"cache: Redis at {host} {explained(exc)}. Calls would be slower, and waits end later")
        return False
    say(f"cache: Redis at {host} answers: values, compare-and-set and messages")
    return True


def _host_of(url: str) -> str:
    """Return the hosts in a URL of Redis, or the path of a socket, without user and password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


async def _say_callbacks(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> None:
    """Say whether the backend reaches the public URL, as far as the replicas have written it down."""
    if assembly.callbacks is None:
        return
    if settings.redis_url is None:
        say("callbacks: asked for; whether they come is shown by the metric luma_mcp_callbacks_doubted")
        return
    try:
        is_doubted = await assembly.callbacks.trust.is_doubted_anywhere()
    except StoreUnavailable:
        return
    name = assembly.backend.description.name
    if is_doubted:
        say(
            f"warning: {name} does not call back at {settings.public_url}: videos ended without it, and the service "
            f"reads on schedule. Let {name} reach that address, or unset LUMA_MCP_PUBLIC_URL and name "
            "the host in LUMA_MCP_ALLOWED_HOSTS"
        )
    else:
        say("callbacks: asked for, and none is known to be missing")


async def _backend_answers(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> bool:
    if settings.backend == "sandbox":
        say("backend: the built-in sandbox")
        return True
    health = await assembly.backend.check(SECONDS)
    say(f"backend: {health.words}")
    return health.is_good
