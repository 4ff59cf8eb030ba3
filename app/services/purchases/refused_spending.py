"""Converts a budget's refusal into the error for the caller."""

from app.domain.budget import BudgetExceeded, PriceUnknown, Spender, SpendingRefused
from app.domain.calendar import utc_text
from app.domain.errors import InternalError, LumaError, OverBudget
from app.domain.money import Money

NO_PRICE = (
    "There is a budget for this {whose}, in {unit}, and the price of a generation is not known in it. Nothing was "
    "sent. Tell the user: an administrator of the team has to remove that budget, or set one in another unit."
)
EXCEEDED = (
    "The budget of this {whose} for the {window} has {left} left of {limit}, and a generation costs {price}. Nothing "
    "was sent. The budget renews at {renews_at}; an administrator of the team can raise it before. Tell the user; "
    "tasks can still be read."
)


def over_budget(refusal: SpendingRefused) -> LumaError:
    """Return the error for a purchase that was refused before anything was recorded or sent."""
    if isinstance(refusal, PriceUnknown):
        return OverBudget(NO_PRICE.format(whose=_whose(refusal.budget.spender), unit=refusal.budget.unit))
    if not isinstance(refusal, BudgetExceeded):
        return InternalError(InternalError.template)
    use = refusal.use
    return OverBudget(
        EXCEEDED.format(
            whose=_whose(use.budget.spender),
            window=use.budget.window,
            left=Money(max(use.left, 0), use.budget.unit),
            limit=Money(use.limit, use.budget.unit),
            price=refusal.price,
            renews_at=utc_text(use.renews_at),
        )
    )


def _whose(spender: Spender) -> str:
    if spender.key is not None:
        return "key"
    return "team" if spender.member is None else "member"
