from memory_hotplug import Machine


def conditions(machine: Machine) -> set[tuple[int, int, str]]:
    """The first address, the last one and the status of each range."""
    ranges = machine.ranges(["state", "configured"])
    return {(found.start, found.end, found.block.status) for found in ranges}


def diff(old: Machine, new: Machine) -> None:
    """Print the ranges that only one of two machines has, such as two captures."""
    before, after = conditions(old), conditions(new)
    for found in sorted(before ^ after):
        start, end, status = found
        print("-" if found in before else "+", f"{start:#x}-{end:#x}", status)
