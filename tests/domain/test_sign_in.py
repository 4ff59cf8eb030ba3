"""Classification of refresh tokens, and sanitized names of clients."""

from dataclasses import replace

import pytest

from app.domain.access import PASSTHROUGH_SCOPES
from app.domain.sign_in import Grant, RefreshJudgement, Registration, judge_refresh, visible_name

GRACE = 60.0
GRANT = Grant(
    id="0" * 32,
    person_id="1" * 32,
    client_id="client",
    client_name="Client",
    redirect_host="localhost",
    registration=Registration.DYNAMIC,
    scopes=PASSTHROUGH_SCOPES,
    generation=1,
    current="current",
    previous="previous",
    rotated_at=1000.0,
    confirmed_at=None,
    refresh_until=5000.0,
    ends_at=9000.0,
    created_at=0.0,
)


def judged(grant: Grant, digest: str, now: float) -> RefreshJudgement:
    return judge_refresh(grant, digest, now, GRACE)


def test_the_current_token_is_valid_until_the_grant_ends() -> None:
    assert judged(GRANT, "current", 4999.0) is RefreshJudgement.CURRENT
    assert judged(GRANT, "current", 5000.0) is RefreshJudgement.ENDED
    assert judged(replace(GRANT, ends_at=2000.0), "current", 2000.0) is RefreshJudgement.ENDED
    assert judged(replace(GRANT, revoked_at=1.0), "current", 1001.0) is RefreshJudgement.ENDED


def test_the_previous_token_is_valid_until_the_grace_period_after_the_first_use_of_the_new_one() -> None:
    assert judged(GRANT, "previous", 4000.0) is RefreshJudgement.REPEATED, "the answer may have been lost"
    used = replace(GRANT, confirmed_at=1100.0)
    assert judged(used, "previous", 1160.0) is RefreshJudgement.REPEATED
    assert judged(used, "previous", 1160.1) is RefreshJudgement.REPLAYED


def test_an_older_token_is_always_a_replay() -> None:
    assert judged(GRANT, "older", 1000.0) is RefreshJudgement.REPLAYED
    assert judged(replace(GRANT, revoked_at=1.0), "older", 1000.0) is RefreshJudgement.ENDED


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Claude", "Claude"),
        ("  Claude \n\t Code ", "Claude Code"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("a\u0000b\u200bc\U000e0041", "abc"),
        ("a\U000e0101b\u3164", "ab"),
        ("x" * 500, "x" * 80),
        ("\u200b" * 999 + "ab", "a"),
        ("", "otherwise"),
        (None, "otherwise"),
        ("\u200b", "otherwise"),
    ],
)
def test_a_clients_name_is_one_visible_line(given: str | None, name: str) -> None:
    assert visible_name(given, "otherwise") == name
