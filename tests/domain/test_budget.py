"""The rules of budgets: raises, remaining amounts, refusals and thresholds."""

import pytest

from app.domain.budget import (
    Budget,
    BudgetExceeded,
    PriceUnknown,
    Spender,
    WindowUse,
    refusing_window,
    threshold_passed,
)
from app.domain.calendar import Window
from app.domain.money import Money

BUDGET = Budget("budget", Spender("team"), 25_000_000, "credits", Window.DAY)
RAISED = Budget("budget", Spender("team"), 25, "credits", Window.DAY, raised_by=10, raised_until=1000.0)
SOFT = Budget("soft", Spender("team"), 25, "credits", Window.DAY, is_soft=True)


def use(budget: Budget, spent: int, reserved: int = 0, renews_at: float = 100.0) -> WindowUse:
    return WindowUse(budget, budget.amount, spent, reserved, 0.0, renews_at)


def test_cap_includes_a_raise_until_its_end() -> None:
    assert [RAISED.cap(moment) for moment in (0.0, 999.9, 1000.0)] == [35, 35, 25]
    assert BUDGET.cap(0.0) == BUDGET.amount


def test_spent_reserved_and_left_add_up_to_the_limit() -> None:
    found = use(BUDGET, 3_000_000, 4_000_000)
    assert found.spent + found.reserved + found.left == found.limit


def test_only_a_hard_budget_refuses_more_than_is_left() -> None:
    full = use(BUDGET, 24_000_000)
    assert not full.refuses(1_000_000)
    assert full.refuses(1_000_001)
    assert not use(SOFT, 1000).refuses(1)


def test_refusing_window_returns_the_window_that_renews_last() -> None:
    day, month, roomy = use(BUDGET, 25_000_000), use(BUDGET, 25_000_000, renews_at=900.0), use(BUDGET, 0)
    assert refusing_window([day, month, roomy], 1) == month
    assert refusing_window([roomy], 1) is None


@pytest.mark.parametrize(
    ("used", "limit", "alerted", "passed"),
    [
        (49, 100, 0, None),
        (50, 100, 0, 50),
        (50, 100, 50, None),
        (80, 100, 50, 80),
        (100, 100, 0, 100),
        (150, 100, 80, 100),
        (150, 100, 100, None),
        (1, 0, 0, 100),
        (1_599_999, 2_000_000, 50, None),
        (1_600_000, 2_000_000, 50, 80),
    ],
)
def test_threshold_passed_returns_the_highest_new_threshold(
    used: int, limit: int, alerted: int, passed: int | None
) -> None:
    assert threshold_passed(used, limit, alerted) == passed


def test_the_text_of_a_refusal_names_the_budget() -> None:
    exceeded = BudgetExceeded(use(BUDGET, 24_000_000), Money(1_190_000, "credits"))
    assert str(exceeded) == "The day's budget of 25 credits has 1 credits left; this costs 1.19 credits."
    assert "no price is known" in str(PriceUnknown(BUDGET, None))
    assert "the price is in USD" in str(PriceUnknown(BUDGET, "USD"))
