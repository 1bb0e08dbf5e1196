from memory_hotplug import Machine


def why_not(machine: Machine, numbers: list[int]) -> None:
    """Print whether blocks can be set offline, and what keeps the others."""
    for found in machine.why(numbers):
        print("block", found.number, found.candidate or "not online", *found.blockers)
        if found.page is not None:
            print("  the page at", f"{found.page:#x}", "cannot be moved")
