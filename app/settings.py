"""Every knob of the service, from the environment or `.env`, with its unit and default."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "LUMA_MCP_"
SHORTEST_KEY_BYTES = 32
HOW_TO_MAKE_A_KEY = "Make one with `openssl rand -base64 48` and give every worker and replica the same."


class SettingsError(Exception):
    """The settings cannot be used; `str()` names each variable at fault and no secret value."""


def _listed(value: Any) -> Any:
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL such as https://luma.example.com")
    return value.rstrip("/")


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) < SHORTEST_KEY_BYTES:
        raise ValueError(f"must be at least {SHORTEST_KEY_BYTES} bytes. {HOW_TO_MAKE_A_KEY}")
    return value


def _metrics(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Key = Annotated[SecretStr, AfterValidator(_long_enough)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """The settings, read once; each field's description is what the README says of it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    backend: Literal["acedata", "sandbox"] = Field("acedata", description="`acedata` or the built-in `sandbox`")
    acedata_url: HttpUrl = Field("https://api.acedata.cloud", description="base URL of the AceDataCloud API")
    redis_url: SecretStr | None = Field(
        None,
        description="`redis://`, `rediss://`, `unix://`, `redis+sentinel://h1:26379,h2:26379/service/0` or "
        "`redis+cluster://h1:6379,h2:6379`; unset keeps the cache in this process's memory",
    )
    secret_key: Key | None = Field(
        None,
        description="32 bytes or more, the same on every replica; keys the hash that stands for a caller. Needed with "
        "Redis or more than one worker",
    )
    public_url: HttpUrl | None = Field(
        None, description="the URL that people see, such as `https://luma.example.com`; its host is allowed"
    )
    allowed_hosts: Listed = Field(
        ("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", "[::1]", "[::1]:*"),
        description="Host headers to answer, separated by commas, `:*` for any port, `*` for all; the host of "
        "`LUMA_MCP_PUBLIC_URL` is always among them",
    )
    allowed_origins: Listed = Field(
        ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"),
        description="origins of browser clients to answer, written likewise; that of `LUMA_MCP_PUBLIC_URL` is among "
        "them",
    )
    trusted_proxies: Listed = Field(
        (), description="addresses or networks whose X-Forwarded-* headers are believed, separated by commas"
    )
    keep_alive_seconds: float = Field(
        75.0, gt=0, description="how long an idle connection stays open; longer than the proxy in front keeps it"
    )
    head_seconds: float = Field(15.0, gt=0, description="how long the head of a request may take to arrive")
    body_seconds: float = Field(30.0, gt=0, description="how long a whole request may take to arrive")
    write_seconds: float = Field(
        30.0, gt=0, description="how long a client may read nothing of its answer before its connection is ended"
    )
    connections: int = Field(
        4000, ge=1, description="most open connections of a process; above them requests get 503, but for the probes"
    )
    result_ttl_seconds: float = Field(
        2_592_000.0, gt=0, description="how long a finished task stays cached, counted from its finish (30 days)"
    )
    pending_ttl_seconds: float = Field(3.0, gt=0, le=60, description="how long a running task's state is reused")
    batch_limit: int = Field(200, ge=1, le=1000, description="most ids in one `luma_get_tasks_batch`")
    sandbox_seconds: float = Field(8.0, gt=0, description="how long the sandbox takes for a generation")
    metrics: Annotated[Literal["on", "off"] | Port, BeforeValidator(_metrics)] = Field(
        "on", description="`on` serves `/metrics` beside `/mcp`, a port number moves it there, `off` switches it off"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="how much to log")
    log_format: Literal["json", "text"] | None = Field(
        None, description="`json` or `text`; unset is `text` on a terminal and `json` elsewhere"
    )
    token: SecretStr | None = Field(
        None, description="the AceDataCloud token of `luma-mcp stdio`; the HTTP service never reads it"
    )

    def hosts(self) -> tuple[str, ...]:
        """Return the Host headers to answer."""
        return (*self.allowed_hosts, *((urlsplit(self.public_url).netloc,) if self.public_url else ()))

    def origins(self) -> tuple[str, ...]:
        """Return the origins of browser clients to answer."""
        return (*self.allowed_origins, *((_origin(self.public_url),) if self.public_url else ()))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def load_settings() -> Settings:
    """Return the settings. Raises SettingsError with one sentence for each variable that does not parse."""
    try:
        return Settings()
    except ValidationError as fault:
        raise SettingsError(" ".join(_sentence(detail) for detail in fault.errors(include_url=False))) from None


def require_key(settings: Settings, workers: int) -> None:
    """Refuse to run where callers would be told apart by a key that nobody shares. Raises SettingsError."""
    if settings.secret_key is None and (settings.redis_url is not None or workers > 1):
        why = "Redis is used" if settings.redis_url is not None else "there is more than one worker"
        raise SettingsError(f"{PREFIX}SECRET_KEY must be set because {why}. {HOW_TO_MAKE_A_KEY}")


def origins_of(settings: Settings) -> dict[str, str]:
    """Return where each setting came from, by variable: "environment", ".env" or "default"."""
    filed = {key.upper() for key, value in dotenv_values(".env").items() if value} if Path(".env").is_file() else set()
    present = {key.upper() for key, value in os.environ.items() if value}
    names = [f"{PREFIX}{name.upper()}" for name in type(settings).model_fields]
    return {name: "environment" if name in present else ".env" if name in filed else "default" for name in names}


def unknown_variables() -> list[str]:
    """Return the variables that look like settings and are none: misspelt, most likely."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    given = {*os.environ, *(dotenv_values(".env") if Path(".env").is_file() else ())}
    return sorted(name for name in given if name.upper().startswith(PREFIX) and name.upper() not in known)


def _sentence(fault: Any) -> str:
    name = f"{PREFIX}{str(fault['loc'][0]).upper()}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{name} {message[0].lower()}{message[1:].rstrip('.')}."
