"""Converts between rows of the database and grants, or holders of access tokens."""

from typing import Any

from sqlalchemy import Row

from app.adapters.sql.oauth_people import PERSON_COLUMNS
from app.adapters.sql.sign_in_tables import oauth_access_tokens, oauth_grants, oauth_people
from app.domain.sign_in import Grant, Person, Registration
from app.domain.teams import parsed_scopes, written_scopes
from app.ports.sign_in_store import AccessHolder, AuthorizationCode, NewGrant, TokenLifetimes

_JOINED = (oauth_access_tokens, oauth_grants, oauth_people)

HOLDER_COLUMNS: list[Any] = [column.label(f"{table.name}__{column.name}") for table in _JOINED for column in table.c]
"""The columns of an access token, its grant and its person. Each has the label `table__column`."""


def grant_of(row: Row[Any], prefix: str = "") -> Grant:
    """Return the grant in a row, whose columns are named as those of `oauth_grants`, after `prefix`."""
    values = {column.name: row._mapping[f"{prefix}{column.name}"] for column in oauth_grants.c}  # noqa: SLF001 - public
    values["scopes"] = parsed_scopes(values["scopes"])
    values["registration"] = Registration(values["registration"])
    return Grant(**values)


def digest_and_holder_of(row: Row[Any]) -> tuple[str, AccessHolder]:
    """Return an access token's digest and holder from a row with the columns HOLDER_COLUMNS and `read_at`."""
    values = row._mapping  # noqa: SLF001 - public
    person = Person(*(values[f"oauth_people__{name}"] for name in PERSON_COLUMNS))
    holder = AccessHolder(
        grant_of(row, "oauth_grants__"),
        person,
        parsed_scopes(values["oauth_access_tokens__scopes"]),
        values["oauth_access_tokens__generation"],
        values["oauth_access_tokens__expires_at"],
        values["read_at"],
    )
    return values["oauth_access_tokens__digest"], holder


def new_grant(code: AuthorizationCode, new: NewGrant, lifetimes: TokenLifetimes, now: float) -> Grant:
    """Return the grant that a code is exchanged for at `now`."""
    return Grant(
        new.id,
        code.person_id,
        new.client.id,
        new.client.name,
        new.redirect_host,
        new.client.registration,
        code.scopes,
        generation=0,
        current=new.refresh,
        previous=None,
        rotated_at=now,
        confirmed_at=None,
        refresh_until=now + lifetimes.refresh,
        ends_at=now + lifetimes.grant,
        created_at=now,
    )


def columns_of(grant: Grant) -> dict[str, Any]:
    """Return the column values of a grant."""
    values = {column.name: getattr(grant, column.name) for column in oauth_grants.c}
    return values | {"scopes": written_scopes(grant.scopes)}


def audited_fields(grant: Grant) -> dict[str, Any]:
    """Return the fields of a grant that the audit log records."""
    return {"client": grant.client_name, "redirect_host": grant.redirect_host, "scopes": written_scopes(grant.scopes)}
