"""Programs of this directory that go on in a guest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vm.guest import Guest

HERE = Path(__file__).parent


def start(guest: Guest, script: str, *words: object) -> tuple[int, str]:
    """Start one that goes on until it is killed or the guest ends; its process, and the line that
    it prints first."""
    guest.put(f"/tmp/{script}", (HERE / script).read_bytes())
    text = " ".join(map(str, words))
    done = guest.run(
        # The line that is waited for must not be an earlier run's.
        f"rm -f /tmp/{script}.out; ulimit -n 8192; "
        f"python3 /tmp/{script} {text} > /tmp/{script}.out 2>&1 & echo $!; "
        f"until [ -s /tmp/{script}.out ]; do sleep 0.1; done; cat /tmp/{script}.out >&2",
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return int(done.stdout), done.stderr


@contextmanager
def running(guest: Guest, script: str, *words: object) -> Iterator[None]:
    """One of them, from the line that it prints until it is killed."""
    process, _ = start(guest, script, *words)
    try:
        yield
    finally:
        guest.run(f"kill {process}; while [ -d /proc/{process} ]; do sleep 0.1; done")
