"""Runs in a Debian guest: what udev does with files of rules.

Standard input is a JSON list of texts; for each, a line of JSON tells what became of two blocks
that were added.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

MEMORY = Path("/sys/devices/system/memory")
RULES = Path("/etc/udev/rules.d/50-judged.rules")
ROUND = Path("/run/udev/rules.d/99-zz-round.rules")
MOST_BLOCKS = 8
MOST_EVENTS = 200
"""More events than these for two blocks have no end."""
PATIENCE = 180
"""Seconds for anything that udev does."""


def until(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"udev judge: {what}: not after {PATIENCE} seconds")
        time.sleep(0.01)


def settled() -> bool:
    return not os.path.exists("/run/udev/queue")


def udevd() -> int:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (
                "systemd-udevd" in (path / "comm").read_text()
                and "worker" not in (path / "cmdline").read_text()
            ):
                return int(path.name)
        except OSError:
            continue
    raise SystemExit("udev judge: no systemd-udevd")


def state(block: int) -> str:
    return (MEMORY / f"memory{block}/state").read_text().strip()


def offline(block: int) -> bool:
    """Whether a block is offline now."""
    for _ in range(3):
        if state(block) == "offline":
            return True
        try:
            (MEMORY / f"memory{block}/state").write_text("offline")
        except OSError:
            time.sleep(0.05)
    return state(block) == "offline"


def started() -> bool:
    """Whether systemd, which hears of the blocks after udev, has started all units for them."""
    jobs = subprocess.run(
        ["systemctl", "list-jobs", "--no-legend", "--plain"], stdout=subprocess.PIPE, check=True
    ).stdout
    return b"memory-online" not in jobs


def data(block: int) -> Path:
    return Path(f"/run/udev/data/+memory:memory{block}")


def events() -> int:
    return int(Path("/sys/kernel/uevent_seqnum").read_text())


def added(blocks: list[int], number: int, daemon: int) -> bool:
    """Have udev hear that blocks were added, with the rules that are there now; whether it comes to
    an end: rules may set a block online for each time that they set it offline."""
    first = events()
    while True:
        for block in blocks:
            data(block).unlink(missing_ok=True)
        os.kill(daemon, signal.SIGHUP)
        for block in blocks:
            (MEMORY / f"memory{block}/uevent").write_text("add")
        until("an event", lambda: all(data(block).exists() for block in blocks))
        until("the queue", lambda: settled() or events() > first + MOST_EVENTS)
        if not settled():
            return False
        if all(f"E:JUDGED={number}\n" in data(block).read_text() for block in blocks):
            return True
        # The daemon was quicker than the signal to read the rules again.
        until("a block offline", lambda: all(map(offline, blocks)))


def quiet(number: int, daemon: int) -> None:
    """Take the file of rules away, and set all blocks offline when udev knows that.

    Events come in their order: when udev is done with one that is made here, it has heard of all
    earlier ones.
    """
    RULES.unlink(missing_ok=True)
    ROUND.write_text(f'SUBSYSTEM=="memory", ENV{{JUDGED}}="quiet {number}"\n')
    while True:
        while not data(0).exists() or f"E:JUDGED=quiet {number}\n" not in data(0).read_text():
            os.kill(daemon, signal.SIGHUP)
            heard()
        busy = [block for block in blocks() if state(block) != "offline"]
        kept = [block for block in busy if not offline(block)]
        heard()
        if len(kept) == len([block for block in blocks() if state(block) != "offline"]):
            return


def heard() -> None:
    """Wait until udev is done with all events so far."""
    data(0).unlink(missing_ok=True)
    (MEMORY / "memory0/uevent").write_text("change")
    until("an event", data(0).exists)
    until("the queue", settled)


def blocks() -> list[int]:
    """The blocks of DIMMs."""
    numbers = (int(path.name.removeprefix("memory")) for path in MEMORY.glob("memory[0-9]*"))
    return sorted(number for number in numbers if number >= 32)


def main() -> None:
    daemon = udevd()
    texts = json.load(sys.stdin)
    ROUND.parent.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        quiet(number, daemon)
        free = [block for block in blocks() if state(block) == "offline"]
        if len(free) < 2:
            print(json.dumps({"stuck": number}), flush=True)
            return
        # The first few, which files name. The others take their place when the kernel keeps one.
        few = free[:MOST_BLOCKS]
        two = [few[number % len(few)], few[(number + 1) % len(few)]]
        RULES.write_text(text)
        ROUND.write_text(f'SUBSYSTEM=="memory", ENV{{JUDGED}}="{number}"\n')
        if not added(two, number, daemon):
            print(json.dumps({"endless": True}), flush=True)
            continue
        if "SYSTEMD_WANTS" in text:
            until("units", started)
            until("units", started)
            until("the queue", settled)
        states = [state(block) for block in two]
        zones = [(MEMORY / f"memory{block}/valid_zones").read_text().strip() for block in two]
        print(json.dumps({"blocks": two, "states": states, "zones": zones}), flush=True)
    quiet(len(texts), daemon)


if __name__ == "__main__":
    main()
