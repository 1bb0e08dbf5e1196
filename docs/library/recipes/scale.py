from pathlib import Path

from memory_hotplug import Action, Machine, MemoryHotplugError, Order

PRESSURE = Path("/proc/pressure/memory")


def scale(machine: Machine, pressure: Path = PRESSURE) -> None:
    """Add 1 GiB while processes wait for memory; take 1 GiB if none has for 5 minutes."""
    line = pressure.read_text().splitlines()[0]
    some = dict(word.split("=") for word in line.removeprefix("some ").split())
    if float(some["avg10"]) > 10:
        order = Order(Action.ENABLE)
    elif float(some["avg300"]) == 0:
        order = Order(Action.DISABLE)
    else:
        return
    try:
        for outcome in machine.change(order, size=1 << 30, keep_free=2 << 30, wait=60):
            print(outcome.error or f"block {outcome.number} is {outcome.after.status}")
    except MemoryHotplugError as error:
        print(error)
