"""Reporters of refusals that no quota counts. Refusals are counted by kind, and a burst of them is one log line."""

from collections.abc import Callable

from app.domain.backend import BackendDescription
from app.observability.refusals import Refusals
from app.services import batched_lookups
from app.services.purchases import idempotency, limiter
from app.services.purchases.refusals import PurchaseRefusals
from app.services.purchases.unaccepted_rows import MAX_OF_ALL, MAX_PER_TOKEN, WINDOW_SECONDS
from app.services.teams import directory_cache

Reporter = Callable[[], None]


def queue_reporter(backend: BackendDescription, refusals: Refusals) -> Reporter:
    """Return the reporter of submissions that are refused because too many of the same token are sent or wait."""
    return refusals.reporter(
        "submission_queue",
        f"Refused a submission, and sent nothing of it: {backend.name} accepts "
        f"{backend.policy.generations_at_once} of a token at once, and {limiter.MAX_WAITING} more waited already, or "
        f"it waited {limiter.MAX_WAIT_SECONDS:.0f} s. Submissions of other tokens are sent.",
    )


def backend_reporter(backend: BackendDescription, refusals: Refusals, longest_wait_seconds: float) -> Reporter:
    """Return the reporter of submissions that waited too long because submissions of all tokens were sent first."""
    return refusals.reporter(
        "backend_submissions",
        f"Refused a submission, and sent nothing of it: it waited {longest_wait_seconds:.0f} s for its turn to be sent "
        f"to {backend.name}. If no flood of calls explains it, {backend.name} answers submissions slowly.",
    )


def purchase_refusals(backend: BackendDescription, refusals: Refusals) -> PurchaseRefusals:
    """Return the reporters of purchases that are refused before they are sent."""
    return PurchaseRefusals(
        keyed_calls=refusals.reporter(
            "keyed_calls",
            f"Refused a call with an idempotency key, and sent nothing of it: {idempotency.MAX_CALLS} calls with keys "
            "of the same token are under way in this process. Other tokens are served.",
        ),
        key_in_use=refusals.reporter(
            "key_in_use",
            "Refused a call with an idempotency key: another call with the same key was still under way after "
            f"{idempotency.MAX_WAIT_SECONDS:.0f} s. A later call with the key gets the task.",
        ),
        unknown_outcomes=refusals.reporter(
            "unknown_outcomes",
            f"Refused a purchase, and sent nothing of it: in {WINDOW_SECONDS / 60:.0f} minutes, "
            f"{MAX_OF_ALL} purchases of tokens that {backend.name} has not accepted lately got an unknown outcome, or "
            f"{MAX_PER_TOKEN} purchases of one such token. Accepted tokens are served.",
        ),
    )


def directory_reporter(refusals: Refusals) -> Reporter:
    """Return the reporter of look-ups of team keys and members that are refused because too many wait."""
    return refusals.reporter(
        "directory_lookups",
        f"Answered 503 to a token of a team: {batched_lookups.MAX_WAITING} look-ups of keys, or "
        f"{directory_cache.MAX_WAITING} of members, wait for the database already. Tokens that are cached are served. "
        "The database is slow, or somebody sends made-up keys.",
    )


def issuer_keys_reporter(refusals: Refusals, most_waiting: int) -> Reporter:
    """Return the reporter of tokens that are refused because too many wait for the identity provider's keys."""
    return refusals.reporter(
        "issuer_keys",
        f"Did not check a token of the identity provider: {most_waiting} requests wait already for its keys. Tokens "
        "that are cached are served.",
    )
