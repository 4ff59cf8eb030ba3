"""`luma-mcp limits`: the rate limits of a team, a member or a key, and their limits of generations in flight."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.output import NONE, table
from app.domain.rate_limit import MAX_LIMIT, NO_LIMITS, LimitKind, Limits
from app.domain.teams import valid_name
from app.ports.budgets import BudgetOwner
from app.ports.rate_limits import OwnedLimits
from app.services.teams.spending_documents import limits_document

HEADINGS = ("for", "calls a minute", "generations an hour", "in flight")
_FLAGS = {
    LimitKind.CALLS: ("--calls-per-minute", "calls in any minute"),
    LimitKind.GENERATIONS: ("--generations-per-hour", "generations started in any hour"),
    LimitKind.IN_FLIGHT: ("--in-flight", "generations that have not ended"),
}


def add_commands(commands: Any) -> None:
    """Add `limits` and its verbs."""
    verbs = add_noun(commands, "limits", "Set, list and remove rate limits.")
    set_parser = _add_owner_verb(verbs, "set", _set, "Set limits, and leave those that are not given as they are.")
    for flag, help_text in _FLAGS.values():
        set_parser.add_argument(flag, type=_limit, metavar="N", help=f"maximum number of {help_text}")
    _require_a_limit(set_parser)
    add_verb(verbs, "list", _list, "List the limits of a team, its members and its keys.", "TEAM")
    remove_parser = _add_owner_verb(
        verbs,
        "remove",
        _remove,
        "Remove the limits given by options; without options, all limits of the team, member or key.",
    )
    for flag, help_text in _FLAGS.values():
        remove_parser.add_argument(flag, action="store_true", help=f"remove the limit of {help_text}")


async def _set(admin: Administrator, args: Namespace) -> None:
    _show(admin, await admin.limits.set(_owner(args), _limits(args), admin.actor))


async def _list(admin: Administrator, args: Namespace) -> None:
    limits = await admin.limits.of_team(args.team)
    rows = [(_owner_text(one.owner), *(_cell(maximum) for maximum in one.limits.by_kind().values())) for one in limits]
    admin.output.show([*map(limits_document, limits)], table(HEADINGS, rows))


async def _remove(admin: Administrator, args: Namespace) -> None:
    kinds = [kind for kind in LimitKind if getattr(args, kind.value)]
    _show(admin, await admin.limits.remove(_owner(args), kinds or list(LimitKind), admin.actor))


def _show(admin: Administrator, owned: OwnedLimits) -> None:
    owner = _owner_text(owned.owner)
    owner = f"team {owned.owner.team}" if owner == "team" else f"{owner} of {owned.owner.team}"
    units = {LimitKind.CALLS: "calls a minute", LimitKind.GENERATIONS: "generations an hour"}
    limits = {kind: maximum for kind, maximum in owned.limits.by_kind().items() if maximum is not None}
    text = ", ".join(f"{maximum} {units.get(kind, 'in flight')}" for kind, maximum in limits.items())
    admin.output.show(limits_document(owned), [f"Limits of {owner}: {text or 'none'}."])


def _owner_text(owner: BudgetOwner) -> str:
    if owner.member is not None:
        return f"member {owner.member}"
    return "team" if owner.key is None else f"key {owner.key}"


def _cell(maximum: int | None) -> str:
    return NONE if maximum is None else str(maximum)


def _owner(args: Namespace) -> BudgetOwner:
    return BudgetOwner(args.team, args.member, args.key)


def _add_owner_verb(verbs: Any, name: str, handler: Any, help_text: str) -> ArgumentParser:
    """Add a verb for the limits of a team, or of the member or key that an option names."""
    verb = add_verb(verbs, name, handler, help_text, "TEAM")
    owner = verb.add_mutually_exclusive_group()
    owner.add_argument(
        "--member", type=checked(valid_name), metavar="MEMBER", help="for this member (default: the whole team)"
    )
    owner.add_argument("--key", metavar="ID", help="for this key, and after a rotation for the new key")
    return verb


def _require_a_limit(verb: ArgumentParser) -> None:
    """Make the command `verb` end with a usage error if no limit option is given."""
    run = verb.get_default("run")

    def run_with_a_limit(args: Namespace) -> None:
        if _limits(args) == NO_LIMITS:
            verb.error(f"name a limit: {', '.join(flag for flag, _ in _FLAGS.values())}")
        run(args)

    verb.set_defaults(run=run_with_a_limit)


def _limits(args: Namespace) -> Limits:
    return Limits(**{kind.value: getattr(args, kind.value) for kind in LimitKind})


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise ArgumentTypeError(f"A limit is a whole number from 1 to {MAX_LIMIT}. `limits remove` removes one.")
    return int(text)
