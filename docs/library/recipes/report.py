from memory_hotplug import Machine, human


def report(machine: Machine) -> None:
    """Print each range of memory, and how much is online."""
    wanted = ["state", "configured", "node"]
    table = machine.read(wanted)
    for found in table.ranges(wanted):
        where = f"{found.start:#012x}-{found.end:#012x}"
        print(where, human(found.size), found.block.status, found.block.node)
    print("online:", human(table.total(online=True)))
