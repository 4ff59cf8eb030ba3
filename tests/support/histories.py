"""Random histories: state machines of Hypothesis, run in one way."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run_histories(machine: type[RuleBasedStateMachine], histories: int, *, steps: int) -> None:
    """Run so many histories of so many steps; raise what a history raises, with the steps that led to it.

    A history that fails is shown as it was found: a search for a smaller one takes longer than pytest allows a test.
    """
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
