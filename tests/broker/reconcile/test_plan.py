"""What to do about a difference: a table of (wanted, seen, steps)."""

import pytest

from broker.model import MachineId, MachineKey, Power, SourceName, State
from broker.reconcile.plan import IS_ON, Step, SwitchOff, SwitchOn, plan_machine

KEY = MachineKey(SourceName("here"), MachineId("11111111-2222-3333-4444-555555555555"))


@pytest.mark.parametrize(
    ("wanted", "seen", "steps"),
    [
        (Power.ON, State.STOPPED, [SwitchOn(KEY)]),
        (Power.ON, State.CRASHED, [SwitchOn(KEY)]),
        (Power.ON, State.RUNNING, []),
        (Power.ON, State.PAUSED, []),
        (Power.ON, State.UNRESPONSIVE, []),
        (Power.OFF, State.RUNNING, [SwitchOff(KEY, gently=True)]),
        (Power.OFF, State.SHUTDOWN, [SwitchOff(KEY, gently=True)]),
        (Power.OFF, State.UNRESPONSIVE, [SwitchOff(KEY, gently=True)]),
        (Power.OFF, State.STOPPED, []),
        (Power.OFF, State.CRASHED, [SwitchOff(KEY, gently=True)]),
        (Power.ON, State.SHUTDOWN, [SwitchOn(KEY)]),
        (Power.ON, State.STARTING, [SwitchOn(KEY)]),
        (None, State.RUNNING, []),
        (Power.ON, None, []),
        (Power.OFF, State.UNKNOWN, []),
    ],
)
def test_the_steps_from_seen_to_wanted(
    wanted: Power | None, seen: State | None, steps: list[Step]
) -> None:
    assert plan_machine(KEY, wanted, seen) == steps


def test_killing_does_not_ask_the_guest() -> None:
    assert plan_machine(KEY, Power.OFF, State.RUNNING, gently=False) == [
        SwitchOff(KEY, gently=False)
    ]


@pytest.mark.parametrize("seen", [*State, None])
@pytest.mark.parametrize("wanted", [*Power, None])
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    wanted: Power | None, seen: State | None
) -> None:
    steps = plan_machine(KEY, wanted, seen)
    after = {SwitchOn: State.RUNNING, SwitchOff: State.STOPPED}
    reached = after[type(steps[-1])] if steps else seen
    assert plan_machine(KEY, wanted, reached) == []


def test_a_state_is_on_off_or_untold() -> None:
    assert set(State) - IS_ON == {State.STOPPED, State.CRASHED, State.UNKNOWN}
