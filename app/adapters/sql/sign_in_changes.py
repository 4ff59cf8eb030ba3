"""Statements for changes of sign-in: they increment the version of grants, and insert audit log entries."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Insert, String, Update, cast, update

from app.adapters.sql.administration import audit_values
from app.adapters.sql.directory_tables import audit
from app.adapters.sql.tables import service
from app.domain.teams import AuditEntry

VERSION = "sign_in_version"
"""The name of the row in `service` that counts the changes after which replicas drop their cached tokens."""


def increment_version() -> Update:
    """Return the statement that increments the version.

    It must come first in a transaction, because it locks out all other transactions that execute it.
    """
    following = cast(cast(service.c.value, BigInteger) + 1, String)
    return update(service).where(service.c.name == VERSION).values(value=following)


def audit_insert(
    action: str,
    subject: str,
    *,
    actor: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Insert:
    """Return the statement that inserts an audit log entry. The caller adds the value of the column `at`."""
    return audit.insert().values(audit_values(AuditEntry(actor, action, subject, before=before, after=after)))
