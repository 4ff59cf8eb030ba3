"""Money as whole numbers: millionths of a named unit, `credits` or `USD`. Fractions of floats never add up."""

import re
from dataclasses import dataclass
from decimal import Decimal

from app.domain.backend import Price

MILLIONTHS = 1_000_000
MOST_UNITS = 1_000_000_000
"""The largest amount of one budget or price, in units: as millionths it is still exact in JSON, as a float."""

_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d{1,6}))?", re.ASCII)

_UNITS = {"US cents": ("USD", 100)}
"""Units of prices that are counted in another one, and how many millionths of it a hundredth of theirs is."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one unit.

    Attributes:
        amount: in millionths of the unit.
        unit: "credits" or "USD".

    """

    amount: int
    unit: str

    def __str__(self) -> str:
        return f"{amount_text(self.amount)} {self.unit}"


def parse_amount(text: str) -> int:
    """Return the millionths that an amount such as `25` or `1.19` is, exactly.

    Raises ValueError, with a sentence, for anything else, and for more than `MOST_UNITS`.
    """
    if (match := _AMOUNT.fullmatch(text)) is None:
        raise ValueError("An amount is a number such as 25 or 1.19, with at most six digits after the point.")
    whole, fraction = match.groups(default="")
    amount = int(whole) * MILLIONTHS + int(fraction.ljust(6, "0"))
    if amount > MOST_UNITS * MILLIONTHS:
        raise ValueError(f"An amount is at most {MOST_UNITS}.")
    return amount


def amount_text(amount: int) -> str:
    """Return millionths as people write them: `25`, `1.19`, `-0.5`."""
    return f"{(Decimal(amount) / MILLIONTHS).normalize():f}"


def price_of_generation(price: Price | None) -> Money | None:
    """Return what one generation costs; None where the backend's price is unknown."""
    if price is None:
        return None
    unit, millionths = _UNITS.get(price.unit, (price.unit, MILLIONTHS // 100))
    return Money(price.hundredths * millionths, unit)
