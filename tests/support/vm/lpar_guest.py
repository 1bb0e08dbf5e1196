"""Runs in an s390 guest: what tests need besides writes, and what these are made with.

The host sends this file to the agent, which calls functions of it; what is at the top of the file
stays between the calls. A text is latin-1, a character for each byte. A condition maps the absolute
path of an attribute to its text.
"""

import os
import signal
import subprocess
import sys
import time

from guest.judge.replay import FIRMWARE, MEMORY, condition, read, write

__all__ = ["condition", "read", "write"]


def tree(top: str) -> dict[str, str]:
    """What is in a directory and below: a path below it -> dir, link, or the mode of a file.

    Links are not followed, and the power directories, which hold nothing of memory's, left out.
    """
    found = {}
    for above, directories, files in os.walk(top):
        directories[:] = [name for name in directories if name != "power"]
        for name in [*directories, *files]:
            path = os.path.join(above, name)
            kind = "link" if os.path.islink(path) else "dir"
            if kind == "dir" and name in files:
                kind = f"{os.stat(path).st_mode & 0o777:o}"
            found[os.path.relpath(path, top)] = kind
    return found


def prepare(blocks: dict[str, list[object]]) -> None:
    """Bring blocks to a condition by plain writes: number -> [condition, memmap_on_memory].

    A condition is disabled, offline, or the word for `state` that sets a block online.
    """
    for number, (wanted, memmap) in blocks.items():
        firmware, memory = f"{FIRMWARE}/memory{number}", f"{MEMORY}/memory{number}"
        asked = [(f"{memory}/online", "0")] if os.path.exists(memory) else []
        asked += [(f"{firmware}/config", "0"), (f"{firmware}/memmap_on_memory", f"{memmap:d}")]
        if wanted != "disabled":
            asked += [(f"{firmware}/config", "1"), (f"{memory}/online", "0")]
        if wanted not in ("disabled", "offline"):
            asked += [(f"{memory}/state", str(wanted))]
        for path, text in asked:
            failed = write(path, text)
            if failed:
                raise OSError(f"{text} to {path}: {failed}")


def beside(program: str, arguments: list[str]) -> int:
    """Run a Python program in a fork of this process until it is killed; its process id, when it
    has printed a line. OSError when it ends before that."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        os.dup2(writing, 1)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.argv = ["beside", *arguments]
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
        try:
            exec(compile(program, "beside", "exec"), {"__name__": "__main__"})
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as said:
        if not said.readline():
            raise OSError("the program has ended")
    return pid


def end(pid: int) -> None:
    """Kill a process that `beside` gave."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def fill(leave: int) -> None:
    """Fill memory with a file in /tmp until only so many MiB are free.

    Page tables are allocated with the help of the OOM killer. It finds processes that nobody needs,
    before it comes to the one that changes memory.
    """
    sleep = "echo 1000 > /proc/self/oom_score_adj; exec sleep 1000"
    for _ in range(24):
        subprocess.Popen(["sh", "-c", sleep])
    subprocess.run(["mount", "-o", "remount,size=100%", "/tmp"], check=True)
    with open("/tmp/filling", "wb") as file:
        while _free() > leave:
            file.write(bytes(1 << 20))
            file.flush()


def _free() -> int:
    """MiB of free memory."""
    with open("/proc/meminfo") as file:
        lines = dict(line.split(":") for line in file)
    return int(lines["MemFree"].split()[0]) >> 10


def end_filling() -> None:
    """Free what `fill` took."""
    os.unlink("/tmp/filling")


SETTLED = "/tmp/settled"
SETTLED_RULE = f"""\
SUBSYSTEM=="memory", KERNEL=="memory0", ACTION=="change", RUN+="/bin/touch {SETTLED}"
"""


def udev(rules: str = "") -> None:
    """Start systemd-udevd with RULES and what other rules there are, and wait until it answers.

    Rules must be there when it starts. This kernel gives no credentials to a message that is sent
    before the receiver has accepted the connection, and udev 252 ignores such a message: udevadm
    control and udevadm settle then do nothing, and say nothing.
    """
    os.makedirs("/run/udev/rules.d", exist_ok=True)
    for name, text in (("00-settled", SETTLED_RULE), ("50-test", rules)):
        with open(f"/run/udev/rules.d/{name}.rules", "w") as file:
            file.write(text)
    subprocess.run(["/usr/lib/systemd/systemd-udevd", "--daemon"], check=True)
    settle()


def settle() -> None:
    """Wait until udev has done all that was to be done.

    Events come in their order: when udev has seen one that is made here, it knows of all earlier
    ones, and its queue is there until they are done.
    """
    failed = write(f"{MEMORY}/memory0/uevent", "change")
    if failed:
        raise OSError(failed)
    end = time.monotonic() + 120
    while not os.path.exists(SETTLED) or os.path.exists("/run/udev/queue"):
        if time.monotonic() > end:
            raise OSError("udev does not settle")
        time.sleep(0.02)
    os.unlink(SETTLED)
