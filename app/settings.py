"""The settings of the service, which are read from environment variables and from a settings file."""

import os
import re
from io import StringIO
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.invitations import join_url
from app.setting_types import (
    HOW_TO_MAKE_A_KEY,
    AuthenticationMethods,
    Hosts,
    HttpUrl,
    IssuerUrl,
    Name,
    Names,
    Networks,
    Origins,
    PublicUrl,
    Seconds,
    SecretKeys,
    SwitchOrPort,
)

PREFIX = "LUMA_MCP_"
DATABASE_FILE = "luma-mcp.db"
DEFAULT_ENV_FILE = ".env"
"""Settings file that `serve`, `check`, `database` and the administrative commands read if it exists.

`stdio` does not read it, because clients start it in folders whose .env belongs to another program.
"""

LOOPBACK_HOSTS = ("localhost:*", "127.0.0.1:*", "[::1]:*")
"""Host headers that are always allowed: the names of the local machine, with any port or none."""


class SettingsError(Exception):
    """The settings cannot be used. `str()` is one or more sentences that name the variables, without secret values."""


class Settings(BaseSettings):
    """The settings. `docs/settings.md` and `.env.example` are generated from the fields' descriptions and defaults."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    backend: Literal["acedata", "sandbox"] = Field("acedata", description="`acedata` or the built-in `sandbox`")
    acedata_url: HttpUrl = Field(
        "https://api.acedata.cloud",
        description="base URL of the AceDataCloud API; plain http for loopback addresses only",
    )
    auth: AuthenticationMethods = Field(
        ("passthrough",),
        description="the bearer tokens that are accepted, separated by commas: `passthrough` (callers' own tokens of "
        "the backend), `keys` (keys of teams, see docs/teams.md), `jwt` (tokens of an identity provider, see "
        "docs/identity-providers.md)",
    )
    jwt_issuer: IssuerUrl | None = Field(
        None,
        description="URL of the identity provider whose tokens are accepted, spelled as its tokens name it in `iss`; "
        "plain http for loopback addresses only",
    )
    jwt_audience: Names = Field(
        (),
        description="accepted values of `aud`, separated by commas; unset is the public URL followed by `/mcp`, or by "
        "`/mcp/readonly`, which grants `read` at most",
    )
    jwt_team_claim: Name = Field(
        "team",
        description="claim that names the team of a person: a name, or a list in which exactly one name is a team",
    )
    jwt_name_claim: Name = Field(
        "preferred_username",
        description="claim with the name under which a new member is listed; `sub` if a token has no such claim",
    )
    jwt_scope_claims: Names = Field(
        ("scope", "scp"), description="claims with the scopes of a token, separated by commas"
    )
    jwt_read_scope: Name = Field(
        "read",
        description="the identity provider's name for the scope `read`; if it is a URL, tokens may have its last part",
    )
    jwt_generate_scope: Name = Field(
        "generate", description="the identity provider's name for the scope `generate`, which allows to spend, likewise"
    )
    sign_in: Literal["off", "acedata", "oidc"] = Field(
        "off",
        description="lets people sign in from their app (docs/sign-in.md): `acedata` with their AceDataCloud account, "
        "`oidc` with an OpenID issuer; needs `LUMA_MCP_PUBLIC_URL`",
    )
    acedata_auth_url: HttpUrl = Field(
        "https://auth.acedata.cloud", description="where people sign in with AceDataCloud; plain http for loopback only"
    )
    acedata_platform_url: HttpUrl = Field(
        "https://platform.acedata.cloud",
        description="where their API tokens are found or made; plain http for loopback only",
    )
    acedata_client_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="client id of this service at AceDataCloud, a public client whose redirect URI is the public URL "
        "followed by `/oauth/callback`",
    )
    acedata_scopes: str = Field(
        "openid profile email applications:read applications:write credentials:read credentials:write offline_access",
        pattern=r"^[!#-\[\]-~]+( [!#-\[\]-~]+)*$",
        description="scopes that people are asked for there; `openid` names them, `offline_access` lets this service "
        "notice after 15 days that a login has ended",
    )
    oidc_issuer: IssuerUrl | None = Field(
        None, description="URL of the OpenID issuer where people sign in, as its ID tokens name it in `iss`"
    )
    oidc_client_id: str | None = Field(
        None, min_length=1, max_length=200, description="client id of this service at that issuer"
    )
    oidc_client_secret: SecretStr | None = Field(
        None, description="client secret of this service at that issuer; unset for a public client, which uses PKCE"
    )
    oidc_team_claim: Name = Field(
        "team", description="claim of the ID token that names the team of a person, as in `LUMA_MCP_JWT_TEAM_CLAIM`"
    )
    oidc_personal_teams: Literal["off", "on"] = Field(
        "off",
        description="`on` gives everybody without a team, whom the OpenID issuer signs in, a team of their own, into "
        "which they put a token of the backend themselves",
    )
    oidc_personal_teams_max: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="the maximum number of personal teams; beyond that, nobody gets a further one until "
        "`luma-mcp teams delete` makes room",
    )
    access_token_seconds: Seconds = Field(
        3600.0, le=86_400, description="lifetime of an access token (1 hour); at most 24 hours"
    )
    refresh_token_seconds: Seconds = Field(
        2_592_000.0,
        le=15_552_000,
        description="time without a refresh after which a person must sign in again (30 days); after 180 days they "
        "must in any case",
    )
    refresh_grace_seconds: float = Field(
        60.0,
        ge=0,
        le=3600,
        description="how long a refresh token is still accepted after its successor was first used",
    )
    database_url: SecretStr | None = Field(
        None,
        description="where purchases are recorded: `sqlite:///path`, which one host's workers share, or "
        "`postgresql://user:password@host/name` for several hosts; unset is a file in `LUMA_MCP_DATA_DIR`",
    )
    data_dir: Path | None = Field(
        None, description="folder of that file; unset is the user's data folder, and memory for the sandbox and `stdio`"
    )
    idempotency_seconds: Seconds = Field(
        86_400.0, ge=86_400, description="how long an idempotency key is valid (24 hours, the least)"
    )
    purchase_days: int = Field(
        90, ge=1, le=3650, description="how many days a purchase is listed; at least as long as its key is valid"
    )
    audit_days: int = Field(
        400,
        ge=32,
        description="how many days the audit log, the spending and the alerts of teams are kept",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="`redis://`, `rediss://`, `unix://`, `redis+sentinel://h1:26379,h2:26379/service/0` or "
        "`redis+cluster://h1:6379,h2:6379`; unset keeps the cache in this process's memory",
    )
    redis_prefix: str = Field(
        "luma-mcp",
        pattern=r"^[A-Za-z0-9._-]{1,64}(:[A-Za-z0-9._-]{1,64}){0,3}$",
        description="prefix of all keys and channels in Redis, which a colon follows; an ACL can name it",
    )
    secret_key: SecretKeys = Field(
        (),
        description="32 bytes or more, the same on every replica; encrypts stored secrets and keys the hashes of "
        "callers. Needed with Redis, PostgreSQL or more than one worker. To rotate it, set `old,new` and then "
        "`new,old`: the first key is used for new values, and all keys are accepted",
    )
    public_url: PublicUrl | None = Field(
        None, description="the URL that people see, such as `https://luma.example.com`; its host is allowed"
    )
    allowed_hosts: Hosts = Field(
        (),
        description="more Host headers to accept, separated by commas, `:*` for any port or none, `*` for all; those "
        "of this machine and of `LUMA_MCP_PUBLIC_URL` are always accepted",
    )
    allowed_origins: Origins = Field(
        ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"),
        description="origins of browser clients to accept, written likewise; that of `LUMA_MCP_PUBLIC_URL` is always "
        "accepted",
    )
    trusted_proxies: Networks = Field(
        (), description="addresses or networks whose X-Forwarded-* headers are trusted, separated by commas"
    )
    refused_tokens_per_minute: int = Field(
        60,
        ge=1,
        le=1_000_000,
        description="how many refused tokens a minute one address (IPv6: one /64) may send to a process; above that, "
        "tokens from there that were not accepted lately get 429. Behind a proxy, set `LUMA_MCP_TRUSTED_PROXIES`",
    )
    keep_alive_seconds: Seconds = Field(
        75.0, description="how long an idle connection stays open; longer than the proxy in front keeps it"
    )
    head_seconds: Seconds = Field(15.0, description="how long the head of a request may take to arrive")
    body_seconds: Seconds = Field(30.0, description="how long a whole request may take to arrive")
    write_seconds: Seconds = Field(
        30.0, description="how long a client may read nothing of a response before its connection is closed"
    )
    connections: int = Field(
        4000,
        ge=1,
        description="maximum number of open connections of a process; above, requests get 503, except the probes",
    )
    result_ttl_seconds: Seconds = Field(
        2_592_000.0, description="how long a finished task stays cached, from its end (30 days)"
    )
    pending_ttl_seconds: float = Field(3.0, gt=0, le=60, description="how long a running task's state is reused")
    batch_limit: int = Field(200, ge=1, le=1000, description="maximum number of ids in one `luma_get_tasks_batch`")
    request_memory_mb: int = Field(
        48,
        ge=16,
        le=65_536,
        description="memory that requests in flight, unfinished requests and unread responses may use together in each "
        "process; the requests of one token may use a ninth of it",
    )
    sandbox_seconds: Seconds = Field(8.0, description="how long the sandbox takes for a generation")
    metrics: SwitchOrPort = Field(
        "on", description="`on` serves `/metrics` beside `/mcp`, a port number moves it there, `off` switches it off"
    )
    team_metrics: bool = Field(
        default=False,
        description="whether `/metrics` shows how much of the budgets of teams is used, by the names of teams",
    )
    admin: SwitchOrPort = Field(
        "off",
        description="`on` lets team keys with the scope `admin` administer their team under `/admin/v1` beside `/mcp`, "
        "a port number moves it there, `off` switches it off (see docs/teams.md)",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="how much to log")
    log_format: Literal["json", "text"] | None = Field(
        None, description="`json` or `text`; unset is `text` on a terminal and `json` elsewhere"
    )
    token: SecretStr | None = Field(
        None, description="the AceDataCloud token of `luma-mcp stdio`; the HTTP service never reads it"
    )

    @field_validator("purchase_days")
    @classmethod
    def _check_purchase_days(cls, days: int, info: ValidationInfo) -> int:
        if days * 86_400 < info.data.get("idempotency_seconds", 0):
            raise ValueError(
                f"must be at least {PREFIX}IDEMPOTENCY_SECONDS: a purchase would be deleted while its key is valid"
            )
        return days

    def secret_keys(self) -> list[str]:
        """Return the secret keys in plain text, the current one first."""
        return [key.get_secret_value() for key in self.secret_key]

    def database(self) -> str | None:
        """Return the URL of the database. None means the memory of this process, which is the sandbox's default."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.data_dir is None and self.backend == "sandbox":
            return None
        return f"sqlite:///{quote(str((self.data_dir or user_data_path('luma-mcp', appauthor=False)) / DATABASE_FILE))}"

    def database_file(self) -> Path | None:
        """Return the file of an SQLite database; None for PostgreSQL and for a database in memory."""
        url = self.database() or ""
        path = unquote(url.removeprefix("sqlite:///"))
        return Path(path) if url.startswith("sqlite:///") and path != ":memory:" else None

    def hosts(self) -> tuple[str, ...]:
        """Return the allowed Host headers: those of this machine, of the setting, and of the public URL."""
        return (*LOOPBACK_HOSTS, *self.allowed_hosts, *((urlsplit(self.public_url).netloc,) if self.public_url else ()))

    def join_page(self) -> str | None:
        """Return the URL of the page where invitations into teams are used; None if nobody can sign in to a team."""
        return join_url(self.public_url) if self.sign_in == "oidc" and self.public_url is not None else None

    def origins(self) -> tuple[str, ...]:
        """Return the allowed origins of browser clients: those of the setting, and that of the public URL."""
        return (*self.allowed_origins, *((_origin(self.public_url),) if self.public_url else ()))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def load_settings(env_file: str | None) -> Settings:
    """Return the settings from the environment and from `env_file`. The environment has precedence.

    None means the environment only. Raises SettingsError with one sentence for each invalid variable, and for a file
    that cannot be read.
    """
    _file_variables(env_file)  # pydantic-settings would ignore a file that is missing
    try:
        return Settings(_env_file=env_file)
    except ValidationError as exc:
        raise SettingsError(" ".join(_sentence(detail) for detail in exc.errors(include_url=False))) from None


def require_key(settings: Settings, workers: int) -> None:
    """Raise SettingsError if a secret key, or a setting for teams or sign-in, is missing.

    A secret key is needed if processes share state: without one, each process would make its own, and so hash the same
    caller to another name.
    """
    _require_team_settings(settings)
    _require_sign_in_settings(settings)
    if settings.secret_key:
        return
    if settings.redis_url is not None or workers > 1 or _is_shared(settings.database()):
        reason = (
            "Redis is used"
            if settings.redis_url is not None
            else "there is more than one worker"
            if workers > 1
            else "LUMA_MCP_DATABASE_URL names a server"
        )
        raise SettingsError(f"{PREFIX}SECRET_KEY must be set because {reason}. {HOW_TO_MAKE_A_KEY}")


def _require_team_settings(settings: Settings) -> None:
    """Raise SettingsError if a setting is missing that LUMA_MCP_AUTH or LUMA_MCP_ADMIN needs."""
    team_method = next((method for method in settings.auth if method in ("keys", "jwt")), None)
    if team_method is not None and (settings.database() or ":memory:").endswith(":memory:"):
        raise SettingsError(
            f"{PREFIX}AUTH names {team_method}, and the database is in the process's memory, where no team can be "
            f"created: set {PREFIX}DATA_DIR or {PREFIX}DATABASE_URL."
        )
    if settings.admin != "off" and "keys" not in settings.auth:
        raise SettingsError(
            f"{PREFIX}ADMIN is {settings.admin}, and {PREFIX}AUTH does not name keys, so nobody could administer: set "
            f"{PREFIX}AUTH=passthrough,keys, or {PREFIX}ADMIN=off."
        )
    if "jwt" in settings.auth and settings.jwt_issuer is None:
        raise SettingsError(
            f"{PREFIX}AUTH names jwt: set {PREFIX}JWT_ISSUER to the identity provider's URL, as `iss` in its tokens."
        )
    if "jwt" in settings.auth and settings.public_url is None:
        raise SettingsError(
            f"{PREFIX}AUTH names jwt: set {PREFIX}PUBLIC_URL, for which clients request the identity provider's tokens."
        )


def _require_sign_in_settings(settings: Settings) -> None:
    """Raise SettingsError if a setting is missing that LUMA_MCP_SIGN_IN needs."""
    if settings.sign_in == "off":
        return
    needed = {"public_url": settings.public_url}
    if settings.sign_in == "acedata":
        needed["acedata_client_id"] = settings.acedata_client_id
    else:
        needed |= {"oidc_issuer": settings.oidc_issuer, "oidc_client_id": settings.oidc_client_id}
    missing = [f"{PREFIX}{name.upper()}" for name, value in needed.items() if value is None]
    is_in_memory = (settings.database() or ":memory:").endswith(":memory:")
    if is_in_memory and settings.sign_in == "oidc":
        missing.append(f"{PREFIX}DATA_DIR or {PREFIX}DATABASE_URL, because teams are to be kept there")
    if is_in_memory and not settings.secret_key:
        missing.append(f"{PREFIX}SECRET_KEY")
    if missing:
        raise SettingsError(f"{PREFIX}SIGN_IN is {settings.sign_in}, which needs {', '.join(missing)} to be set.")


def _is_shared(database: str | None) -> bool:
    """Return whether several hosts can use the database. An SQLite file is on one host."""
    return database is not None and not database.startswith("sqlite:")


_AFTER_NAME = re.compile(r"[^A-Za-z0-9_].*", re.DOTALL)


def origins_of(settings: Settings, env_file: str | None) -> dict[str, str]:
    """Return the source of each variable: "environment", the name of the settings file, or "default"."""
    in_file = {key.upper() for key, value in _file_variables(env_file).items() if value}
    in_environment = {key.upper() for key, value in os.environ.items() if value}
    names = [f"{PREFIX}{name.upper()}" for name in type(settings).model_fields]
    return {
        name: "environment" if name in in_environment else f"{env_file}" if name in in_file else "default"
        for name in names
    }


def unknown_variables(env_file: str | None) -> list[str]:
    """Return the variables with PREFIX that are no settings and so are probably misspelt.

    dotenv reads a line such as `NAME: value` as one name. Everything after NAME is replaced by "…", because it may be a
    secret.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    present = {*os.environ, *_file_variables(env_file)}
    unknown = (name for name in present if name.upper().startswith(PREFIX) and name.upper() not in known)
    return sorted(_AFTER_NAME.sub("…", name) for name in unknown)


def _file_variables(env_file: str | None) -> dict[str, str | None]:
    """Return the variables in `env_file`. There are none without a file, or if the default file does not exist.

    Raises SettingsError if any other file does not exist, and if a file cannot be read or is not UTF-8 text.
    """
    if env_file is None or (env_file == DEFAULT_ENV_FILE and not Path(env_file).is_file()):
        return {}
    try:
        return dotenv_values(stream=StringIO(Path(env_file).read_text(encoding="utf-8")))
    except UnicodeDecodeError:
        raise SettingsError(
            f"The settings file {env_file} cannot be read: it is no text in UTF-8. Save it in UTF-8."
        ) from None
    except (OSError, ValueError) as exc:
        raise SettingsError(
            f"The settings file {env_file} cannot be read ({type(exc).__name__}). Correct its path or permissions."
        ) from None


def _sentence(error: Any) -> str:
    """Return one of pydantic's error details as a sentence that begins with the variable."""
    name = f"{PREFIX}{str(error['loc'][0]).upper()}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{name} {message[0].lower()}{message[1:].rstrip('.')}."
