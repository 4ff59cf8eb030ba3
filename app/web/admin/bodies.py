"""The models of request bodies and queries of /admin/v1."""

from typing import Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from app.domain.access import Scope
from app.domain.invitations import INVITATION_SECONDS
from app.domain.rate_limit import LimitKind
from app.ports.budgets import SpendingGroup
from app.web.admin.fields import (
    MAX_NUMBER,
    AlertUrl,
    Amount,
    Day,
    Duration,
    Id,
    Lifetime,
    Limit,
    Name,
    Note,
    Raise,
    Secret,
    Threshold,
    Time,
    Timezone,
    WholeNumber,
)

MAX_PAGE_SIZE = 1_000
DEFAULT_PAGE_SIZE = 100

DAY_SECONDS = 86_400
M = TypeVar("M", bound=BaseModel)


def _not_empty(body: M) -> M:
    """Return `body`. Raises ValueError if all its fields are null or left out."""
    if all(value is None for _, value in body):
        raise ValueError(f"Send at least one of {', '.join(type(body).model_fields)}.")
    return body


class Body(BaseModel):
    """The body of a request. Unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Query(BaseModel):
    """The query of a request, whose values are strings.

    Unknown parameters are refused. `request_input` refuses repeated ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class EmptyBody(Body):
    """No body, or an empty object."""


class EmptyQuery(Query):
    """No query."""


class TeamChange(Body):
    """Changes to the team. Settings that are left out are not changed."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    timezone: Timezone | None = Field(
        None, description="IANA name. Takes effect at once, also for current budget windows"
    )
    members_see_all: bool | None = Field(None, description="whether members see the tasks of the whole team")
    asks_above: Threshold | None = Field(
        None,
        description="a generation that costs more needs the user's confirmation; in the backend's unit, or `never`",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        return _not_empty(self)


class NewLimits(Body):
    """Rate limits to set. Those that are left out are not changed."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    calls_per_minute: Limit | None = Field(None, description="maximum number of calls in any minute")
    generations_per_hour: Limit | None = Field(None, description="maximum number of generations started in any hour")
    in_flight: Limit | None = Field(None, description="maximum number of generations that have not ended")

    @model_validator(mode="after")
    def _check(self) -> Self:
        return _not_empty(self)


class NewMember(Body):
    """A member to add."""

    name: Name


class NewInvitation(Body):
    """An invitation to make."""

    expires: Lifetime = Field(
        default_factory=lambda: INVITATION_SECONDS,
        description="how long it can be accepted: days, hours or minutes; default: 7d",
    )
    note: Note = Field("", description="whom it is for")


class NewKey(Body):
    """A key to create."""

    member: Name = Field(description="the member's name")
    scopes: list[Scope] = Field(
        [Scope.READ, Scope.GENERATE],
        min_length=1,
        max_length=len(Scope),
        description="what the key may do; your own key needs each of them",
    )
    expires: Lifetime | None = Field(
        None, description="how long the key is valid: days, hours or minutes; null: without limit"
    )
    note: Note = Field("", description="what the key is for")


class Rotation(Body):
    """How to replace a key."""

    grace: Duration = Field(
        default_factory=lambda: DAY_SECONDS,
        description="how long the old key remains valid; 0 ends it at once; default: 24h",
    )


class NewCredential(Body):
    """A credential to add. Its secret is never shown again."""

    backend: str = Field(max_length=64, description="the backend that it is for")
    secret: Secret = Field(description="the credential itself")


class NewBudget(Body):
    """The amount that may be spent in each window."""

    amount: Amount = Field(description="in the backend's unit")
    is_soft: bool = Field(default=False, description="only alert; otherwise the budget refuses generations")
    alert_url: AlertUrl | None = Field(
        None, description="public https URL to which alerts are sent at 50, 80 and 100 %; null sends none"
    )


class BudgetRaise(Body):
    """A raise for a limited time. It replaces an earlier raise."""

    by: Raise = Field(description="in the backend's unit")
    until: Day = Field(description="the last day, in the team's time zone")


class OwnerQuery(Query):
    """The owner of a budget or limit: a member, a key, or without both the whole team."""

    member: Id | None = Field(None, description="the id of the member")
    key: Id | None = Field(
        None, description="the id of the key; after a rotation, its budget or limit applies to the new key"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.member is not None and self.key is not None:
            raise ValueError("Name a member or a key, not both.")
        return self


class LimitsQuery(OwnerQuery):
    """The owner of the limits to remove, and their kind."""

    kind: LimitKind | None = Field(None, description="the limit to remove; all of them otherwise")


class KeysQuery(Query):
    """A page of the keys."""

    after: Id | None = Field(None, description="the id of the last key of the page before")
    limit: WholeNumber = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="maximum number of keys")


class AuditQuery(Query):
    """A page of the audit log."""

    since: Time | None = Field(None, description="a date or an ISO time; without an offset it is UTC")
    after: WholeNumber = Field(0, ge=0, le=MAX_NUMBER, description="the id of the last row of the page before")
    limit: WholeNumber = Field(DEFAULT_PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="maximum number of rows")


class UsageQuery(Query):
    """The period and the grouping of a usage report."""

    since: Day | None = Field(None, description="a day in the team's time zone; the first of this month otherwise")
    by: SpendingGroup | None = Field(None, description="group the sums by this; otherwise one sum")
