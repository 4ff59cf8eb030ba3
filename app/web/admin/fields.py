"""The types of values in requests to /admin/v1, validated by the rules of the domain.

The message of each ValueError is a sentence that quotes nothing of the request.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    WithJsonSchema,
)

from app.domain.calendar import parse_day
from app.domain.errors import InvalidRequest
from app.domain.money import parse_amount
from app.domain.public_url import MAX_URL_LENGTH, check_public_url
from app.domain.rate_limit import MAX_LIMIT
from app.domain.team_input import MAX_SECRET_LENGTH, is_credential, parsed_threshold, parsed_time
from app.domain.teams import (
    MAX_NAME_LENGTH,
    MAX_NOTE_LENGTH,
    parsed_duration,
    parsed_lifetime,
    valid_name,
    valid_note,
    valid_timezone,
)

MAX_NUMBER = 2**63 - 1
"""Largest id of a row of the audit log, which is a signed 64-bit integer in the database."""

MAX_DIGITS = len(str(MAX_NUMBER))

ID_PATTERN = r"^[0-9a-f]{1,32}$"


def _alert_url(text: str) -> str:
    try:
        check_public_url(text, "alert_url")
    except InvalidRequest as exc:
        raise ValueError(str(exc)) from None
    if not text.lower().startswith("https://"):
        raise ValueError("An alert goes to an https URL.")
    return text


def _secret(secret: SecretStr) -> SecretStr:
    if not is_credential(secret.get_secret_value()):
        raise ValueError(f"A credential has 1 to {MAX_SECRET_LENGTH} ASCII characters without blanks.")
    return secret


def _above_zero(amount: int) -> int:
    if amount == 0:
        raise ValueError("A raise must be more than 0.")
    return amount


def _parsed_by(parse: Callable[[str], Any], pattern: str, example: str) -> tuple[Any, ...]:
    """Return the pydantic metadata of a string that matches `pattern` and is converted by `parse`.

    `parse` raises ValueError for an invalid string.
    """

    def validate(value: Any) -> Any:
        parsed = parse(value) if isinstance(value, str) else None
        if parsed is None or re.fullmatch(pattern, value) is None:
            raise ValueError(f"This must be a text such as {example}.")
        return parsed

    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    return BeforeValidator(validate), WithJsonSchema(schema, mode="validation")


_DURATION_PATTERN = r"^(0|[0-9]{1,9}[mhd])$"
_AMOUNT_METADATA = _parsed_by(parse_amount, r"^[0-9]{1,10}(\.[0-9]{1,6})?$", "25")


def _whole_number(value: Any) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > MAX_DIGITS:
        raise ValueError("This must be a whole number.")
    return int(value)


# Durations and lifetimes are in seconds, amounts in millionths of the unit, and times in unix seconds.
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(valid_name)]
Timezone = Annotated[str, Field(max_length=64, examples=["Europe/Berlin"]), AfterValidator(valid_timezone)]
Note = Annotated[str, Field(max_length=MAX_NOTE_LENGTH), AfterValidator(valid_note)]
Id = Annotated[str, Field(pattern=ID_PATTERN)]
Duration = Annotated[int, *_parsed_by(parsed_duration, _DURATION_PATTERN, "30d")]
Lifetime = Annotated[int, *_parsed_by(parsed_lifetime, _DURATION_PATTERN, "30d")]
Amount = Annotated[int, *_AMOUNT_METADATA]
Raise = Annotated[int, AfterValidator(_above_zero), *_AMOUNT_METADATA]
Threshold = Annotated[
    int | Literal["never"], *_parsed_by(parsed_threshold, r"^(never|[0-9]{1,10}(\.[0-9]{1,6})?)$", "5")
]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Day = Annotated[date, *_parsed_by(parse_day, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "2026-12-31")]
Time = Annotated[float, *_parsed_by(parsed_time, r"^[0-9A-Za-z:.+-]{1,40}$", "2026-11-01T09:00:00Z")]
WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
AlertUrl = Annotated[str, Field(max_length=MAX_URL_LENGTH), AfterValidator(_alert_url)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=MAX_SECRET_LENGTH), AfterValidator(_secret)]
