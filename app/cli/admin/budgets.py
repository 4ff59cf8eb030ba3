"""`luma-mcp budgets`: the budgets of a team, a member or a key for a day, a week or a month."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.output import NONE, table, time_text
from app.domain.calendar import Window, parse_day
from app.domain.money import Money, amount_text, parse_amount
from app.domain.public_url import is_plain_url
from app.domain.teams import valid_name
from app.ports.budgets import BudgetOwner, BudgetTerms, OwnedBudget
from app.ports.directory import NotAllowed
from app.services.teams.spending_documents import budget_document

MAX_ALERT_URL_LENGTH = 2000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEADINGS = ("for", "window", "limit", "left", "reserved", "spent", "unit", "renews (UTC)", "kind", "raise")


def add_commands(commands: Any) -> None:
    """Add `budgets` and its verbs."""
    verbs = add_noun(commands, "budgets", "Set, list, raise and remove budgets.")
    setting = _add_owner_verb(
        verbs, "set", _set, "Set what may be spent, in the place of an earlier budget of the same window."
    )
    setting.add_argument(
        "--amount", required=True, type=checked(parse_amount), metavar="25", help="in the backend's unit"
    )
    _add_window(setting, required=True)
    setting.add_argument("--soft", action="store_true", help="only alert; a budget refuses otherwise")
    setting.add_argument(
        "--alert-url", type=_alert_url, metavar="URL", help="where to send an alert at 50, 80 and 100 %%"
    )
    add_verb(verbs, "list", _list, "List the budgets of a team and what they have left.", "TEAM")
    raising = _add_owner_verb(verbs, "raise", _raise, "Raise a budget for a while, in the place of an earlier raise.")
    raising.add_argument("--by", required=True, type=_above_zero, metavar="10", help="in the backend's unit")
    raising.add_argument(
        "--until", required=True, type=checked(parse_day), metavar="2026-12-31", help="the last day, in the team's zone"
    )
    _add_window(raising)
    _add_window(_add_owner_verb(verbs, "remove", _remove, "Remove a budget."))


def budget_lines(budgets: list[OwnedBudget]) -> list[str]:
    """Return a table of budgets."""
    return table(HEADINGS, [_row(owned) for owned in budgets])


async def _set(admin: Administrator, args: Namespace) -> None:
    if admin.price is None:
        raise NotAllowed(
            "The backend names no price, so a budget would refuse every generation. Set `luma-mcp limits` instead."
        )
    amount = Money(args.amount, admin.price.unit)
    terms = BudgetTerms(amount, Window(args.window), args.soft)
    if args.alert_url is None:
        _show(admin, await admin.budgets.set(_owner(args), terms, admin.actor), "Set")
        return
    team = await admin.directory.teams.team(args.team)
    terms = replace(terms, alert=await admin.secrets.alert_target(team, args.alert_url))
    owned, secret = await admin.budgets.set(_owner(args), terms, admin.actor), admin.secrets.signing_secret(team)
    line = f"Its alerts are signed by the Standard Webhooks specification, with the secret {secret}"
    admin.output.show(budget_document(owned) | {"alert_secret": secret}, [_sentence(owned, "Set"), line])


async def _list(admin: Administrator, args: Namespace) -> None:
    budgets = await admin.budgets.of_team(args.team)
    admin.output.show([budget_document(owned) for owned in budgets], budget_lines(budgets))


async def _raise(admin: Administrator, args: Namespace) -> None:
    raised = await admin.budgets.increase(_owner(args), _window(args), by=args.by, until=args.until, actor=admin.actor)
    _show(admin, raised, "Raised", f" up to the end of {args.until}")


async def _remove(admin: Administrator, args: Namespace) -> None:
    removed = await admin.budgets.remove(_owner(args), _window(args), admin.actor)
    _show(admin, removed, "Removed")


def _show(admin: Administrator, owned: OwnedBudget, verb: str, until: str = "") -> None:
    admin.output.show(budget_document(owned), [_sentence(owned, verb, until)])


def _sentence(owned: OwnedBudget, verb: str, until: str = "") -> str:
    use, unit = owned.use, owned.use.budget.unit
    team = f"team {owned.owner.team}"
    is_of_team = owned.owner == BudgetOwner(owned.owner.team)
    owner = team if is_of_team else f"{_owner_text(owned.owner)} of {team}"
    amounts = f"{Money(use.limit, unit)}, {Money(use.left, unit)} left"
    return f"{verb} the {use.budget.window} budget of {owner}{until}: {amounts}."


def _row(owned: OwnedBudget) -> tuple[str, ...]:
    use, budget = owned.use, owned.use.budget
    is_raised = use.limit != budget.amount
    return (
        _owner_text(owned.owner),
        budget.window,
        *(amount_text(amount) for amount in (use.limit, use.left, use.reserved, use.spent)),
        budget.unit,
        time_text(use.renews_at),
        "soft" if budget.is_soft else "hard",
        f"+{amount_text(budget.raised_by)} until {time_text(budget.raised_until)}" if is_raised else NONE,
    )


def _owner_text(owner: BudgetOwner) -> str:
    if owner.member is not None:
        return f"member {owner.member}"
    return "team" if owner.key is None else f"key {owner.key}"


def _add_owner_verb(verbs: Any, name: str, handler: Any, help_text: str) -> ArgumentParser:
    """Add a verb for the budgets of a team, or of the member or key that an option names."""
    verb = add_verb(verbs, name, handler, help_text, "TEAM")
    owner = verb.add_mutually_exclusive_group()
    owner.add_argument(
        "--member", type=checked(valid_name), metavar="MEMBER", help="for this member (default: the whole team)"
    )
    owner.add_argument("--key", metavar="ID", help="for this key, and after a rotation for the new key")
    return verb


def _add_window(verb: ArgumentParser, *, required: bool = False) -> None:
    help_text = "calendar window in the team's time zone" + (
        "" if required else "; needed where there are several budgets"
    )
    verb.add_argument("--window", required=required, choices=[str(one) for one in Window], help=help_text)


def _owner(args: Namespace) -> BudgetOwner:
    return BudgetOwner(args.team, args.member, args.key)


def _window(args: Namespace) -> Window | None:
    return None if args.window is None else Window(args.window)


def _above_zero(text: str) -> int:
    amount = checked(parse_amount)(text)
    if amount == 0:
        raise ArgumentTypeError("A raise must be more than 0.")
    return amount


def _alert_url(text: str) -> str:
    if len(text) > MAX_ALERT_URL_LENGTH or not is_plain_url(text) or not urlsplit(text).hostname:
        raise ArgumentTypeError(f"An alert goes to an https URL of at most {MAX_ALERT_URL_LENGTH} characters.")
    parts = urlsplit(text)
    if parts.scheme.lower() != "https" and parts.hostname not in LOOPBACK:
        raise ArgumentTypeError("An alert goes to an https URL; http is for this machine alone.")
    return text
