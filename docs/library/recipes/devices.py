from memory_hotplug import Action, Machine, Order, human


def empty(machine: Machine, name: str) -> bool:
    """Set all memory of a device offline, so that it can be unplugged; whether it is."""
    for device in machine.devices():
        size = len(device.blocks) * machine.block_size
        print(device.name, human(size), f"{len(device.online)} blocks online")
    change = machine.change(Order(Action.DISABLE), device=name)
    for outcome in change:
        if outcome.error:
            print(outcome.error)
    return change.complete
