"""TokenStatusCache: duration of a refusal, verification of refused tokens, and eviction."""

from app.services.limits.token_status import MAX_TOKENS, REFUSED_SECONDS, VERIFY_SECONDS, TokenStatusCache
from tests.support.clock import HandClock


def test_a_refusal_stays_until_the_token_is_accepted_but_is_recent_for_seconds_only(clock: HandClock) -> None:
    token_status = TokenStatusCache(clock)
    token_status.accept("a")
    token_status.refuse("a")
    assert (token_status.is_accepted("a"), token_status.just_refused("a"), token_status.was_refused("a")) == (
        False,
        True,
        True,
    )
    assert not token_status.was_refused("b")
    clock.advance(REFUSED_SECONDS)
    assert (token_status.just_refused("a"), token_status.was_refused("a")) == (False, True)
    token_status.accept("a")
    assert (token_status.is_accepted("a"), token_status.was_refused("a")) == (True, False)


def test_try_start_verification_is_true_once_in_five_minutes_for_a_refused_token(clock: HandClock) -> None:
    token_status = TokenStatusCache(clock)
    token_status.refuse("a")
    assert not token_status.try_start_verification("a")
    clock.advance(REFUSED_SECONDS)
    assert [token_status.try_start_verification("a") for _ in range(3)] == [True, False, False]
    token_status.refuse("a")
    clock.advance(VERIFY_SECONDS - 1)
    assert not token_status.try_start_verification("a")
    clock.advance(1)
    assert token_status.try_start_verification("a")


def test_a_refused_token_is_verified_once_more_after_the_backend_accepted_another_refused_one(clock: HandClock) -> None:
    token_status = TokenStatusCache(clock)
    token_status.accept("never refused")
    for token in ("a", "b"):
        token_status.refuse(token)
    clock.advance(REFUSED_SECONDS)
    assert token_status.try_start_verification("a")
    token_status.refuse("a")
    clock.advance(REFUSED_SECONDS)
    token_status.accept("never refused")
    assert not token_status.try_start_verification("a")
    token_status.accept("b")
    assert [token_status.try_start_verification("a") for _ in range(3)] == [True, False, False]
    token_status.refuse("a")
    clock.advance(REFUSED_SECONDS)
    token_status.accept("b")
    assert not token_status.try_start_verification("a"), "b was not refused a second time"


def test_new_refusals_evict_the_oldest_one_when_the_cache_is_full(clock: HandClock) -> None:
    token_status = TokenStatusCache(clock)
    for number in range(MAX_TOKENS + 1):
        token_status.refuse(str(number))
    assert not token_status.was_refused("0")
    assert token_status.was_refused("1")
    assert token_status.was_refused(str(MAX_TOKENS))
