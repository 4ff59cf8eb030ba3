"""The default secret key: generated once, and kept in a file beside the SQLite database."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from app.settings import Settings, SettingsError

FILE = "luma-mcp.key"


def with_local_secret(settings: Settings) -> Settings:
    """Return `settings` with the secret key from the file, if they have none and the database is an SQLite file.

    Purchases are stored under a hash of the caller's token that is keyed with it. With a new key after a restart,
    callers would not find their purchases. Raises SettingsError if the file cannot be read or created.
    """
    database = settings.database_file()
    if settings.secret_key or database is None:
        return settings
    path = database.with_name(FILE)
    try:
        key = _read_or_create(path)
    except (OSError, ValueError) as exc:
        raise SettingsError(
            f"The key file {path} cannot be read or created ({type(exc).__name__}): set LUMA_MCP_SECRET_KEY, or "
            "LUMA_MCP_DATA_DIR to a folder that this user may write to."
        ) from None
    return settings.model_copy(update={"secret_key": (SecretStr(key),)})


def _read_or_create(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_text(encoding="ascii").strip()
        if len(key) < 32:  # noqa: PLR2004 - the minimum of LUMA_MCP_SECRET_KEY
            raise ValueError("too short") from None
        return key
    key = secrets.token_urlsafe(48)
    with os.fdopen(file, "w", encoding="ascii") as opened:
        opened.write(key)
    return key
