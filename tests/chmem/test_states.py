"""A handful of the sequences that tests/fuzz/fuzz_states.py tries, so that it cannot rot."""

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

import lines
import states
import trial
from chmem_py.actions import ACTIONS, OPTIONS
from forking import forks


@forks
@pytest.mark.parametrize("number", [1, 2])
def test_what_must_hold_holds_after_each_of_some_random_steps(number: int) -> None:
    trial.STEPS.clear()
    machine = seed(number)(type("States", (states.States,), {}))
    chosen = settings(
        max_examples=6,
        stateful_step_count=8,
        derandomize=False,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
    assert trial.STEPS.total() > 20


def test_every_option_and_operand_is_drawn() -> None:
    assert set(lines.VALUES) == set(OPTIONS)
    assert set(lines.OPERANDS) == {row.operands for row in ACTIONS.values()}
