from collections.abc import Callable

from memory_hotplug import Action, Machine, Order


def attempt(machine: Machine, size: int, works: Callable[[], bool]) -> bool:
    """Set SIZE bytes offline; bring back what was if it does not work so."""
    with machine.hold(timeout=60):
        change = machine.change(Order(Action.DISABLE), size=size)
        for outcome in change:
            print(outcome.error or f"block {outcome.number} is {outcome.after.status}")
        if change.complete and works():
            return True
        if change.changed:
            for outcome in machine.undo():
                print(outcome.error or f"block {outcome.number} is {outcome.after.status}")
        return False
