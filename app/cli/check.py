"""`luma-mcp check`: prints each setting with its source, and tests the services that the settings name."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.adapters.auth.jwt.faults import IssuerUnavailable
from app.composition.application import Assembly, assemble
from app.ports.repositories import DatabaseTooNew, DatabaseUnavailable
from app.ports.store import StoreUnavailable
from app.services.purchases.shared_database import MISMATCH
from app.services.tasks.store_probe import explained, probe
from app.settings import PREFIX, Settings, origins_of, require_key, unknown_variables

BACKEND_TIMEOUT_SECONDS = 5.0
RECEIVED_WITHIN_SECONDS = 2.0
"""Time in which the test message through Redis must arrive."""

MASK = "********"
OLDER_SCHEMA = "; the next start, or `luma-mcp database upgrade`, brings it up to date"
_CREDENTIALS = re.compile(r"//.*@")
"""User name and password in a URL. Greedy, because an unescaped @ or / may be part of the password."""


async def check_everything(settings: Settings, say: Callable[[str], None], *, env_file: str | None) -> bool:
    """Print the settings and the result of each test, line by line, with `say`.

    Return whether the database, the store, the backend, the identity provider and the login can be used. Raises
    SettingsError for unusable settings.
    """
    _say_settings(settings, say, env_file)
    for name in unknown_variables(env_file):
        say(f"warning: {name} is not a setting; is it misspelt?")
    require_key(settings, 1)
    assembly = assemble(settings, base_url="http://127.0.0.1:8000")
    async with assembly.connected():
        database_is_good = await _check_database(assembly, say)
        store_is_good = await _check_store(assembly, settings, say)
        backend_is_good = await _check_backend(assembly, settings, say)
        issuer_is_good = await _check_issuer(assembly, settings, say)
        login_is_good = await _check_login(assembly, settings, say)
        if store_is_good:
            await _say_callbacks(assembly, settings, say)
    return database_is_good and store_is_good and backend_is_good and issuer_is_good and login_is_good


def _say_settings(settings: Settings, say: Callable[[str], None], env_file: str | None) -> None:
    origins = origins_of(settings, env_file)
    for name in type(settings).model_fields:
        variable = f"{PREFIX}{name.upper()}"
        say(f"{variable} = {_masked(getattr(settings, name))}  ({origins[variable]})")


def _masked(value: object) -> str:
    """Return a setting's value for the output, without secrets, and with the credentials in URLs masked."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return ", ".join(map(_masked, value)) or "none"
    return "unset" if value is None else _CREDENTIALS.sub(f"//{MASK}@", str(value))


async def _check_database(assembly: Assembly, say: Callable[[str], None]) -> bool:
    database, shared = assembly.persistence.database, assembly.persistence.shared
    label = f"database: {database.kind} at {database.place}"
    try:
        facts = await database.read_facts()
    except DatabaseTooNew as exc:
        say(f"{label}: {exc}")
        return False
    except DatabaseUnavailable as exc:
        say(f"{label} {exc}. Calls with an idempotency key would be refused, and others would not be recorded")
        return False
    if facts is None:
        say(f"{label} is made when the service starts")
        return True
    say(f"{label} answers, schema version {facts.version}{'' if facts.is_newest else OLDER_SCHEMA}")
    if differs := await shared.differs(facts.id):
        say(f"database: {MISMATCH}")
    return not differs


async def _check_store(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> bool:
    if settings.redis_url is None:
        say("cache: in this process's memory")
        return True
    host = _host_of(settings.redis_url.get_secret_value())
    try:
        shared = assembly.shared
        await probe(shared.store, shared.coordination, shared.keys, received_within_seconds=RECEIVED_WITHIN_SECONDS)
    except StoreUnavailable as exc:
        say(f"cache: Redis at {host} {explained(exc)}. Calls would be slower, and waits would end later")
        return False
    say(f"cache: Redis at {host} answers: values, compare-and-set and messages")
    return True


def _host_of(url: str) -> str:
    """Return the hosts in a Redis URL, or the path of its socket, without user name and password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


async def _say_callbacks(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> None:
    """Print whether callbacks arrive at the public URL, according to the flag that the replicas share in Redis."""
    if assembly.callbacks is None:
        return
    if settings.redis_url is None:
        say("callbacks: asked for; the metric luma_mcp_callbacks_doubted of the service shows whether they arrive")
        return
    try:
        is_doubted = await assembly.callbacks.trust.is_doubted_anywhere()
    except StoreUnavailable:
        return
    backend_name = assembly.backend.description.name
    if is_doubted:
        say(
            f"warning: {backend_name} does not call back at {settings.public_url}: tasks ended without a callback, so "
            f"the service polls them on schedule. Let {backend_name} reach that address, or unset LUMA_MCP_PUBLIC_URL "
            "and list the host in LUMA_MCP_ALLOWED_HOSTS"
        )
    else:
        say("callbacks: asked for, and none is known to be missing")


async def _check_backend(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> bool:
    if settings.backend == "sandbox":
        say("backend: the built-in sandbox")
        return True
    health = await assembly.backend.check(BACKEND_TIMEOUT_SECONDS)
    say(f"backend: {health.words}")
    return health.is_good


async def _check_issuer(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> bool:
    if assembly.issuer is None:
        return True
    label = f"identity provider: {settings.jwt_issuer}"
    try:
        key_count = await assembly.issuer.count_keys()
    except IssuerUnavailable as exc:
        say(f"{label} {exc}. Its tokens would get HTTP 503")
        return False
    say(f"{label} answers, and has {key_count} usable key{'s' if key_count != 1 else ''}")
    return True


async def _check_login(assembly: Assembly, settings: Settings, say: Callable[[str], None]) -> bool:
    if settings.sign_in == "off":
        return True
    if assembly.sign_in is None:
        say("login: not tried, because LUMA_MCP_SECRET_KEY is unset; the service makes a key when it starts")
        return True
    upstream = assembly.sign_in.login.upstream
    fault = await upstream.find_fault()
    words = "answers" if fault is None else f"{fault}. Nobody could sign in"
    say(f"login: {upstream.name} at {upstream.origin} {words}")
    return fault is None
