"""The URL of a database, and the TLS that it asks for."""

import ssl

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

LAST_PORT = 65_535


def parsed_url(url_text: str | None) -> URL:
    """Return `url_text` with the driver that this service uses; None means an SQLite database in memory.

    Raises ValueError if it has no known form. The message completes a sentence about the URL.
    """
    if url_text is None:
        return make_url("sqlite+aiosqlite:///:memory:")
    try:
        url = make_url(url_text)
    except (ArgumentError, ValueError):
        raise ValueError("is not a database URL: use sqlite:///path or postgresql://user:password@host/name") from None
    match url.drivername:
        case "sqlite" if "?" in url_text:
            raise ValueError("may not contain ? for SQLite: in the name of a file, write ? as %3F and % as %25")
        case "sqlite" if url.database and not url.host:
            return url.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres" if "@" in (url.host or "") or (url.port or 0) > LAST_PORT:
            raise ValueError("has an @ in its password, or an invalid port: write @ as %40, : as %3A and / as %2F")
        case "postgresql" | "postgres" if url.database and url.host and set(url.query) <= {"sslmode", "sslrootcert"}:
            return url.set(drivername="postgresql+asyncpg")
        case _:
            raise ValueError(
                "must be sqlite:///path or postgresql://user:password@host/name, which may end in ?sslmode=verify-full "
                "and &sslrootcert=/path/to/ca.pem"
            )


def tls_of(url: URL) -> ssl.SSLContext | str:
    """Return asyncpg's `ssl` argument for the URL's sslmode, which has the meaning that libpq defines.

    The default is "prefer". The verifying modes trust the file in sslrootcert, or else the system's authorities. Raises
    ValueError, whose message completes a sentence about the URL.
    """
    mode = str(url.query.get("sslmode", "prefer"))
    ca_file = str(url.query.get("sslrootcert", ""))
    if mode in ("disable", "allow", "prefer", "require"):
        return mode
    if mode not in ("verify-ca", "verify-full"):
        raise ValueError("has an sslmode that is none of disable, allow, prefer, require, verify-ca and verify-full")
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError:
        raise ValueError("names an sslrootcert that cannot be read") from None
    context.check_hostname = mode == "verify-full"
    return context
