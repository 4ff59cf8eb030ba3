"""Money as integers: millionths of a unit, `credits` or `USD`, because sums of floats are not exact."""

import re
from dataclasses import dataclass
from decimal import Decimal

from app.domain.backend import Price

MILLIONTHS = 1_000_000
MAX_UNITS = 1_000_000_000
"""The largest amount of a budget or price, in units. In millionths it is still exact as a float, as in JSON."""

_AMOUNT = re.compile(r"(\d{1,10})(?:\.(\d{1,6}))?", re.ASCII)

_UNITS = {"US cents": ("USD", 100)}
"""By the unit of a price: the unit of the amount, and how many of its millionths equal 1/100 of the price's unit."""


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
    """Parse an amount such as `25` or `1.19`, exactly, into millionths.

    Raises ValueError, whose text is a sentence, for other text and for more than `MAX_UNITS`.
    """
    if (match := _AMOUNT.fullmatch(text)) is None:
        raise ValueError("An amount is a number such as 25 or 1.19, with at most six digits after the point.")
    whole, fraction = match.groups(default="")
    amount = int(whole) * MILLIONTHS + int(fraction.ljust(6, "0"))
    if amount > MAX_UNITS * MILLIONTHS:
        raise ValueError(f"An amount is at most {MAX_UNITS}.")
    return amount


def amount_text(amount: int) -> str:
    """Format millionths as a decimal number of units: `25`, `1.19`, `-0.5`."""
    return f"{(Decimal(amount) / MILLIONTHS).normalize():f}"


def price_of_generation(price: Price | None) -> Money | None:
    """Convert the backend's price of a generation; None if it is unknown."""
    if price is None:
        return None
    unit, millionths = _UNITS.get(price.unit, (price.unit, MILLIONTHS // 100))
    return Money(price.hundredths * millionths, unit)
