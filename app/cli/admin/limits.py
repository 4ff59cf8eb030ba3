"""`luma-mcp limits`: how often a team, a member or a key may call and generate, and how many generations at once."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from app.cli.admin.command import Administrator, add_noun, add_verb, checked
from app.cli.admin.output import NONE, table
from app.domain.rate_limit import MOST, NO_LIMITS, LimitKind, Limits
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
    put = _add_verb(verbs, "set", _set, "Set limits, and leave those that are not given as they are.")
    for flag, words in _FLAGS.values():
        put.add_argument(flag, type=_limit, metavar="N", help=f"most {words}")
    _require_a_limit(put)
    add_verb(verbs, "list", _list, "List the limits of a team, its members and its keys.", "TEAM")
    remove = _add_verb(verbs, "remove", _remove, "Remove all limits of a team, a member or a key, or those named.")
    for flag, words in _FLAGS.values():
        remove.add_argument(flag, action="store_true", help=f"remove the limit of {words}")


async def _set(admin: Administrator, chosen: Namespace) -> None:
    _show(admin, await admin.limits.set(_owner(chosen), _limits(chosen), admin.actor))


async def _list(admin: Administrator, chosen: Namespace) -> None:
    found = await admin.limits.of_team(chosen.team)
    rows = [(_who(one.owner), *(_cell(most) for most in one.limits.by_kind().values())) for one in found]
    admin.output.show([*map(limits_document, found)], table(HEADINGS, rows))


async def _remove(admin: Administrator, chosen: Namespace) -> None:
    named = [kind for kind in LimitKind if getattr(chosen, kind.value)]
    _show(admin, await admin.limits.remove(_owner(chosen), named or list(LimitKind), admin.actor))


def _show(admin: Administrator, owned: OwnedLimits) -> None:
    whose = f"team {owned.owner.team}" if _who(owned.owner) == "team" else f"{_who(owned.owner)} of {owned.owner.team}"
    words = {LimitKind.CALLS: "calls a minute", LimitKind.GENERATIONS: "generations an hour"}
    set_ones = {kind: most for kind, most in owned.limits.by_kind().items() if most is not None}
    said = ", ".join(f"{most} {words.get(kind, 'in flight')}" for kind, most in set_ones.items())
    admin.output.show(limits_document(owned), [f"Limits of {whose}: {said or 'none'}."])


def _who(owner: BudgetOwner) -> str:
    if owner.member is not None:
        return f"member {owner.member}"
    return "team" if owner.key is None else f"key {owner.key}"


def _cell(most: int | None) -> str:
    return NONE if most is None else str(most)


def _owner(chosen: Namespace) -> BudgetOwner:
    return BudgetOwner(chosen.team, chosen.member, chosen.key)


def _add_verb(verbs: Any, name: str, handler: Any, words: str) -> ArgumentParser:
    verb = add_verb(verbs, name, handler, words, "TEAM")
    owner = verb.add_mutually_exclusive_group()
    owner.add_argument("--member", type=checked(valid_name), metavar="MEMBER", help="for this member (the whole team)")
    owner.add_argument("--key", metavar="ID", help="for this key and those that replace it")
    return verb


def _require_a_limit(put: ArgumentParser) -> None:
    """Make `put` refuse a command line that sets nothing, as a fault of usage."""
    run = put.get_default("run")

    def run_with_a_limit(chosen: Namespace) -> None:
        if _limits(chosen) == NO_LIMITS:
            put.error(f"name a limit: {', '.join(flag for flag, _ in _FLAGS.values())}")
        run(chosen)

    put.set_defaults(run=run_with_a_limit)


def _limits(chosen: Namespace) -> Limits:
    return Limits(**{kind.value: getattr(chosen, kind.value) for kind in LimitKind})


def _limit(given: str) -> int:
    if not (given.isascii() and given.isdecimal() and len(given) <= len(str(MOST)) and 1 <= int(given) <= MOST):
        raise ArgumentTypeError(f"A limit is a whole number from 1 to {MOST}. `limits remove` removes one.")
    return int(given)
