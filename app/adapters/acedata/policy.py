"""Facts of AceDataCloud: names, limits, prices and times, each with its source."""

from math import ceil

from app.domain.backend import BackendDescription, BackendPolicy, Capabilities, Price
from app.domain.freshness import PollingPolicy
from app.domain.generation import ASPECT_RATIOS

NAME = "AceDataCloud"
ACCOUNT_URL = "https://platform.acedata.cloud"

EXPECTED_SECONDS = 150.0
"""Usual time of a generation: the documented ones took 154 and 156 s, the guide says 1 to 2 minutes."""

LINK_LIFE_SECONDS = 30 * 24 * 3600.0
"""How long a result URL works, by the storage FAQ."""

GENERATIONS_AT_ONCE = 5
"""Per token, by the concurrency FAQ."""

PRICE = Price(119, "credits")
"""Of one generation that succeeded, by the price list. Failures and reads are free."""

STUCK_SECONDS = 600.0
"""The age at which the concurrency FAQ says to give a task up."""

CAPABILITIES = Capabilities(aspect_ratios=ASPECT_RATIOS, calls_back=True)
"""The ratios are those that the provider's own clients accept."""


def polling_policy(expected_seconds: float) -> PollingPolicy:
    """Return the schedule where a generation takes `expected_seconds` as a rule.

    With 150 s, the first read comes after 10 s and the others 5 to 15 s apart, as the concurrency FAQ advises. A task
    that will call back is read after 180 s, in case it did not. Callers are sent the same pauses of at most 15 s.
    """
    return PollingPolicy(
        expected_seconds=expected_seconds,
        first_read_seconds=expected_seconds / 15,
        shortest_pause_seconds=expected_seconds / 30,
        longest_pause_seconds=expected_seconds / 10,
        read_without_callback_seconds=1.2 * expected_seconds,
        first_question_seconds=ceil(expected_seconds * 0.4),
        next_question_seconds=ceil(min(15.0, max(2.0, expected_seconds / 10))),
        stuck_after_seconds=STUCK_SECONDS,
    )


def describe(*, expected_seconds: float = EXPECTED_SECONDS, address: str | None = None) -> BackendDescription:
    """Return the description; the sandbox, which speaks the same HTTP, has no address and takes a time of its own."""
    policy = BackendPolicy(
        polling=polling_policy(expected_seconds),
        duration="1 to 3 minutes",
        link_life_seconds=LINK_LIFE_SECONDS,
        generations_at_once=GENERATIONS_AT_ONCE,
        price=PRICE,
    )
    return BackendDescription(NAME, ACCOUNT_URL, address, CAPABILITIES, policy)


ACEDATACLOUD = describe()
"""The description for sentences, which name neither the address nor the schedule."""
