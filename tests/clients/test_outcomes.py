"""When programs that were not tried fail the run of `make clients`."""

import pytest

from tests.clients.__main__ import PROGRAMS, Kind, Outcome, Program, faults, report

QUICK = {program: Outcome.PASSED for program in PROGRAMS if program.kind is not Kind.AGENT}


def outcomes(*absent: str) -> dict[Program, Outcome]:
    return {one: Outcome.ABSENT if one.name in absent else outcome for one, outcome in QUICK.items()}


@pytest.mark.parametrize(
    ("absent", "in_ci", "takes_all", "count"),
    [
        ((), True, True, 0),
        (("java",), True, False, 0),
        (("java", "chromium-signs-in"), True, False, 0),
        (("java",), True, True, 1),
        (("java", "curl"), True, False, 1),
        (("inspector",), True, False, 1),
        (("fastmcp-signs-in",), True, False, 1),
        (("inspector", "mcp-remote"), True, False, 3),
        (("inspector", "java", "curl"), False, False, 0),
        (tuple(one.name for one in QUICK), False, False, 1),
    ],
)
def test_programs_that_were_not_tried_are_faults(
    absent: tuple[str, ...], in_ci: bool, takes_all: bool, count: int
) -> None:
    given = outcomes(*absent)
    found = faults(given, in_ci=in_ci, takes_all=takes_all)
    assert len(found) == count, found
    assert report(list(given.values()), found) == (1 if count else 0)


def test_the_closing_line_counts_what_was_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    given = list(outcomes("java").values())
    assert report([*given, Outcome.FAILED], ["x was not tried"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{len(QUICK) - 1} passed, 2 failed, 1 skipped"
