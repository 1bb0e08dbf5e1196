from memory_hotplug import Action, InUseError, Machine, Order, TooFewError, human

OFFLINE = Order(Action.DISABLE)


def free(machine: Machine, size: int = 8 << 30) -> tuple[int, ...]:
    """Set SIZE bytes offline, or nothing; return the numbers of the blocks."""
    change = machine.change(OFFLINE, size=size, keep_free=2 << 30, all_or_nothing=True)
    try:
        for outcome in change:
            if outcome.error:
                print(outcome.error)
    except (InUseError, TooFewError) as error:
        print(human(error.possible), "can go, not", human(error.asked))
    return change.changed
