from memory_hotplug import Action, Machine, Order, State


def test_another_block_takes_the_place_of_a_busy_one() -> None:
    faults = {63: {"offline": "EBUSY"}}
    with Machine.simulated(memory=8 << 30, faults=faults) as machine:
        change = machine.change(Order(Action.DISABLE), size=machine.block_size)
        first, second = change
        assert first.error and first.error.errno_name == "EBUSY"
        assert machine.block(first.number).state is State.ONLINE
        assert change.changed == (second.number,)
        assert change.complete
