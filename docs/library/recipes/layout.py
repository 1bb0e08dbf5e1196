from memory_hotplug import Layout, LayoutError, Machine

TEXT = """
version = 1
keep_free = "1G"

[[memory]]
node = 1
size = "2G"
zone = "Movable"
"""


def apply(machine: Machine, text: str = TEXT) -> bool:
    """Bring a machine to a layout; whether it is so then."""
    try:
        change = machine.apply(Layout.parse(text))
        for outcome in change:
            print(outcome.error or f"block {outcome.number} is {outcome.after.status}")
    except LayoutError as error:
        print(error)
        return False
    return change.complete
