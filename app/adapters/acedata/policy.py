"""Facts about AceDataCloud: names, limits, prices and times.

The FAQs, guides and price list that are named as sources are those of docs.acedata.cloud.
"""

from math import ceil

from app.domain.backend import BackendDescription, BackendPolicy, Capabilities, Price
from app.domain.freshness import PollingPolicy
from app.domain.generation import ASPECT_RATIOS

NAME = "AceDataCloud"
ACCOUNT_URL = "https://platform.acedata.cloud"

EXPECTED_SECONDS = 150.0
"""Usual duration of a generation. The two examples in the guide took 154 and 156 s, although it says 1 to 2 minutes."""

LINK_LIFE_SECONDS = 30 * 24 * 3600.0
"""Time for which the URL of a result works. Source: the storage FAQ."""

GENERATIONS_AT_ONCE = 5
"""Maximum number of concurrent generations per token. Source: the concurrency FAQ."""

PRICE = Price(hundredths=119, unit="credits")
"""Price of a successful generation. Source: the price list.

Failures are free, as the billing FAQ says. Reads are free in the guides of other services of AceDataCloud.
"""

STUCK_SECONDS = 600.0
"""Age after which a task that still runs counts as stuck. Source: the concurrency FAQ."""

CAPABILITIES = Capabilities(aspect_ratios=ASPECT_RATIOS, calls_back=True)
"""Source of the aspect ratios: the values that AceDataCloud's own clients accept."""


def polling_policy(expected_seconds: float) -> PollingPolicy:
    """Return the polling schedule for generations that usually take `expected_seconds`.

    With 150 s, the first read comes after 10 s and the others 5 to 15 s apart, as the concurrency FAQ advises. If a
    callback is expected, the first read comes after 180 s, in case the callback is lost. Callers are advised to ask
    first after 60 s, and then every 15 s.
    """
    return PollingPolicy(
        expected_seconds=expected_seconds,
        first_read_seconds=expected_seconds / 15,
        min_read_interval_seconds=expected_seconds / 30,
        max_read_interval_seconds=expected_seconds / 10,
        read_without_callback_seconds=1.2 * expected_seconds,
        client_first_poll_seconds=ceil(expected_seconds * 0.4),
        client_poll_interval_seconds=ceil(min(15.0, max(2.0, expected_seconds / 10))),
        stuck_after_seconds=STUCK_SECONDS,
    )


def describe(*, expected_seconds: float = EXPECTED_SECONDS, address: str | None = None) -> BackendDescription:
    """Return the description of AceDataCloud, whose base URL is `address`.

    For the sandbox, `address` is None and `expected_seconds` is the duration of its generations.
    """
    policy = BackendPolicy(
        polling=polling_policy(expected_seconds),
        duration="1 to 3 minutes",
        link_life_seconds=LINK_LIFE_SECONDS,
        generations_at_once=GENERATIONS_AT_ONCE,
        price=PRICE,
    )
    return BackendDescription(NAME, ACCOUNT_URL, address, CAPABILITIES, policy)


ACEDATACLOUD = describe()
"""A description for messages only: it has no address, and the polling schedule of EXPECTED_SECONDS."""
