"""Hold the machine while it is changed: wait for other processes, and restore the block that a
killed chmem left half done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from chmem_py import messages
from chmem_py.advice import format_condition, format_left
from chmem_py.interrupts import Interrupts
from chmem_py.output import Output
from hotplug_cli.block_names import named
from memory_hotplug.change.batch import bring_back
from memory_hotplug.change.lock import Held, Holder, hold
from memory_hotplug.errors import HeldError
from memory_hotplug.machine import Machine


@contextmanager
def holding(
    machine: Machine, interrupts: Interrupts, timeout: float | None, output: Output
) -> Iterator[Held]:
    """A context that holds the machine. A block that was left half done is restored.

    Waits TIMEOUT seconds at most; says for whom it waits. Raises HeldError if that was not long
    enough, and StoppedError if a signal ends the wait.
    """
    tree = machine.tree
    with interrupts.during("hold"):
        held = hold(
            tree.root,
            this_machine=tree.is_this_machine,
            timeout=timeout,
            waiting=lambda holder: output.say(messages.WAITING.of(holder=_named(holder))),
        )
    with held:
        _mend(machine, held, output)
        yield held


def say_held(error: HeldError, output: Output) -> None:
    """Say who still holds the machine."""
    holder = Holder(error.pid, error.since)
    output.say(messages.HELD.of(holder=_named(holder)))


def _named(holder: Holder) -> str:
    if holder.pid is None:
        return "another process"
    if holder.since is None:
        return f"process {holder.pid}"
    began = time.localtime(holder.since)
    today = began[:3] == time.localtime()[:3]
    return f"process {holder.pid} (since {time.strftime('%T' if today else '%F %T', began)})"


def _mend(machine: Machine, held: Held, output: Output) -> None:
    left = held.left
    outcome = bring_back(machine, held)
    if left is None or outcome is None:
        return
    if outcome.stuck:
        block = named([outcome.number])
        output.say(
            messages.UNDOING_FAILED.of(
                block=block, step=outcome.stuck.step, reason=outcome.stuck.reason
            )
        )
        output.say(format_left(outcome, machine.tree))
        return
    output.say(
        messages.BROUGHT_BACK.of(
            block=named([outcome.number]),
            pid=left.pid,
            action=left.action,
            condition=format_condition(outcome.after),
        )
    )


def say_left(machine: Machine, output: Output) -> None:
    """Say what a run would bring back first; for a dry run, which waits for nobody."""
    tree = machine.tree
    try:
        with hold(tree.root, this_machine=tree.is_this_machine, timeout=0) as held:
            left = held.left
    except HeldError:
        return
    if left:
        output.say(
            messages.WOULD_BRING_BACK.of(
                block=named([left.before.number]),
                pid=left.pid,
                action=left.action,
                condition=format_condition(left.before),
            )
        )
