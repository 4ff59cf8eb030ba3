"""Amounts: exact parsing and formatting, and the price of a generation in millionths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.backend import Price
from app.domain.money import MAX_UNITS, MILLIONTHS, Money, amount_text, parse_amount, price_of_generation


@pytest.mark.parametrize(
    ("text", "amount"),
    [("25", 25_000_000), ("1.19", 1_190_000), ("0.000001", 1), ("0", 0), ("007.50", 7_500_000), ("0.1", 100_000)],
)
def test_an_amount_is_parsed_exactly(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    ["", ".5", "5.", "-1", "+1", "1e3", "1,19", "nan", "inf", "1.0000001", " 1", "1\n", "1_0", "٣", "0x1", "1.1.1"],
)
def test_parse_amount_raises_for_other_text(text: str) -> None:
    with pytest.raises(ValueError, match="number such as 25"):
        parse_amount(text)


def test_the_largest_amount_is_exact_as_a_float() -> None:
    most = parse_amount(str(MAX_UNITS))
    assert int(float(most - 1)) == most - 1
    with pytest.raises(ValueError, match="at most"):
        parse_amount(f"{MAX_UNITS}.000001")


@given(st.integers(0, MAX_UNITS * MILLIONTHS))
def test_parse_amount_reverses_amount_text(amount: int) -> None:
    assert parse_amount(amount_text(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "text"), [(25_000_000, "25"), (1_190_000, "1.19"), (-500_000, "-0.5"), (0, "0"), (10**15, "1000000000")]
)
def test_amount_text_has_no_superfluous_zeros(amount: int, text: str) -> None:
    assert amount_text(amount) == text
    assert str(Money(amount, "credits")) == f"{text} credits"


@pytest.mark.parametrize(
    ("price", "money"),
    [
        (Price(119, "credits"), Money(1_190_000, "credits")),
        (Price(40, "USD"), Money(400_000, "USD")),
        (Price(4050, "US cents"), Money(405_000, "USD")),
        (None, None),
    ],
)
def test_the_price_of_a_generation_is_in_millionths(price: Price | None, money: Money | None) -> None:
    assert price_of_generation(price) == money
