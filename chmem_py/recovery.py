"""Tell for whom is waited, and what became of the block that a killed process left half done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from chmem_py import messages
from chmem_py.interrupts import Interrupts
from chmem_py.output import Output
from hotplug_cli.message import Message, Wording
from memory_hotplug.change.lock import Held, Holder, Mended
from memory_hotplug.change.undo import UNDO
from memory_hotplug.errors import HeldError
from memory_hotplug.face import Machine
from memory_hotplug.request.mending import mended_ahead


@contextmanager
def holding(
    machine: Machine,
    interrupts: Interrupts,
    timeout: float | None,
    output: Output,
    action: str | None = None,
) -> Iterator[Held]:
    """A context that holds the machine for ACTION. A block that was left half done is restored.

    Waits TIMEOUT seconds at most; says for whom it waits. Raises HeldError if that was not long
    enough, and StoppedError if a signal ends the wait.
    """
    held = machine.hold(
        timeout=timeout,
        watch=interrupts,
        waiting=lambda holder: output.say(messages.WAITING.of(holder=_named(holder))),
        unrecorded=lambda error: output.say(
            messages.UNRECORDED.of(file=f"/{UNDO}", reason=error.strerror or error)
        ),
    )
    with held:
        if held.mended:
            _say_restored(messages.BROUGHT_BACK, held.mended, machine, output)
        held.action = action
        yield held


def say_held(error: HeldError, output: Output) -> None:
    """Say who still holds the machine."""
    holder = Holder(error.pid, error.since)
    output.say(messages.HELD.of(holder=_named(holder)))


def _named(holder: Holder) -> Wording:
    words = "another process" if holder.pid is None else f"process {holder.pid}"
    if holder.pid is not None and holder.since is not None:
        began = time.localtime(holder.since)
        today = began[:3] == time.localtime()[:3]
        words += f" (since {time.strftime('%T' if today else '%F %T', began)})"
    return Wording(words, holder.pid)


def _say_restored(said: Message, mended: Mended, machine: Machine, output: Output) -> None:
    """Say what became of the block that was left; in the words SAID if it could be restored."""
    from chmem_py.advice import format_condition, format_left
    from hotplug_cli.block_names import named, named_one

    left, outcome = mended
    output.restored.append(outcome)
    if stuck := outcome.stuck:
        blocks = named([outcome.number])
        output.say(messages.UNDOING_FAILED.of(blocks=blocks, step=stuck.step, reason=stuck.reason))
        output.say(format_left(outcome, machine.tree))
        return
    block, condition = named_one(outcome.number), format_condition(outcome.after)
    output.say(said.of(block=block, pid=left.pid, action=left.action, condition=condition))


def after_recovery(machine: Machine, output: Output) -> Machine:
    """The machine as a run finds it, for a dry run: a block that a killed chmem left is restored in
    a rehearsal. It is said that a run restores it. Nothing is written, and nobody is waited for."""
    ahead = mended_ahead(machine)
    found = Machine(ahead.tree)
    if ahead.mended:
        _say_restored(messages.WOULD_BRING_BACK, ahead.mended, found, output)
    return found
