"""What changes of sign-in have in common: the version of grants, and rows of the audit log."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Insert, String, Update, cast, update

from app.adapters.sql.administration import audit_values
from app.adapters.sql.directory_tables import audit
from app.adapters.sql.tables import service
from app.domain.teams import AuditEntry

VERSION = "sign_in_version"
"""The row of `service` that counts the changes after which replicas look tokens up anew."""


def next_version() -> Update:
    """Return the statement that increments the version. In a transaction it comes first, because it is the lock."""
    following = cast(cast(service.c.value, BigInteger) + 1, String)
    return update(service).where(service.c.name == VERSION).values(value=following)


def noted(
    action: str,
    subject: str,
    *,
    actor: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Insert:
    """Return the statement that adds a row to the audit log; its column `at` is still to be set."""
    return audit.insert().values(audit_values(AuditEntry(actor, action, subject, before=before, after=after)))
