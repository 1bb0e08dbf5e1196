import time

from memory_hotplug import Machine, Uevents


def wait_for(machine: Machine, size: int, timeout: float) -> bool:
    """Wait until SIZE bytes are online, TIMEOUT seconds at most; whether they are."""
    ends = time.monotonic() + timeout
    with Uevents() as uevents:
        while machine.read(["state"]).total(online=True) < size:
            left = ends - time.monotonic()
            if left <= 0:
                return False
            uevents.wait(left)
    return True
