"""A progress bar on a terminal, for work that takes longer."""

from __future__ import annotations

import sys
import time
from _thread import allocate_lock

from hotplug_cli.sizes import human

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any, Self

DELAY = 0.5
"""Seconds of work after which progress is shown."""

WAIT = 2.0
"""Seconds after which it is shown what is waited for."""


class Progress:
    """The progress bar; it does nothing if standard error is not a terminal."""

    def __init__(self, blocks: int, block_size: int) -> None:
        self._blocks = blocks
        self._block_size = block_size
        self._done = 0
        self._at: int | None = None
        self._awaited: str | None = None
        self._since = 0.0
        self._lock = allocate_lock()
        self._shown: Any = None
        self._task: Any = None
        self._timer: threading.Timer | None = None
        self._over = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            import threading

            from safe_files.signals import undisturbed

            self._timer = threading.Timer(DELAY, self._show)
            self._timer.daemon = True
            # Its threads get no signal. The main thread, which blocks signals while it writes to a
            # simulated machine, would not notice one that they get.
            with undisturbed():
                self._timer.start()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.table import Column
        from rich.text import Text

        where = self._where

        class Where(ProgressColumn):
            """Made anew for each picture, as the time goes on."""

            def render(self, task: Task) -> Text:
                return Text(where())

        with self._lock:
            if self._over:
                return
            self._shown = Bar(
                # Where there is little room, the bar is shorter.
                Where(table_column=Column(no_wrap=True)),
                BarColumn(),
                TextColumn("{task.completed:.0f} of {task.total:.0f} blocks"),
                TextColumn("{task.fields[bytes]}"),
                TimeRemainingColumn(),
                # A sentence that is written meanwhile is broken by the terminal, if at all.
                console=Console(stderr=True, soft_wrap=True),
                transient=True,
                redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            )
            self._task = self._shown.add_task("", total=self._blocks, **self._fields())
            self._update()
            self._shown.start()

    def _fields(self) -> dict[str, str]:
        size = self._block_size
        return {"bytes": f"{human(self._done * size)} of {human(self._blocks * size)}"}

    def _where(self) -> str:
        """Which block it is, and what is waited for, if that takes long."""
        if self._at is None:
            return ""
        at, waited = f"memory block {self._at}", time.monotonic() - self._since
        if self._awaited is None or waited < WAIT:
            return at
        return f"{at}: {self._awaited}, {waited:.0f} s"

    def _update(self) -> None:
        self._shown.update(self._task, completed=self._done, **self._fields())

    def begin(self, number: int) -> None:
        """The work on block NUMBER begins."""
        self._at, self._awaited = number, None
        if self._shown is not None:
            self._update()

    def wait_for(self, what: str | None) -> None:
        """WHAT is waited for from now on; None: nothing that takes long."""
        self._awaited, self._since = what, time.monotonic()

    def done(self, blocks: int) -> None:
        """So many blocks are done in all. Blocks that were taken in place of others can make them
        more than were asked for."""
        self._done = min(blocks, self._blocks)
        if self._shown is not None:
            self._update()

    def stop(self) -> None:
        with self._lock:
            self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._shown is not None:
            self._shown.stop()

    def abandon(self) -> bytes:
        """The bytes that clear the bar from the terminal when the process ends at once."""
        return b"\x1b[?25h\r\n" if self._shown is not None else b""
