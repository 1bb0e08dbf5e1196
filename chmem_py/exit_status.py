"""The exit status that follows from what was done."""

from hotplug_cli.exits import Exit, by_signal
from memory_hotplug.request.tally import Tally


def status_of(tally: Tally, signal: int | None) -> int:
    """The exit status; SIGNAL is the one that ended the work early."""
    if signal is not None:
        return by_signal(signal)
    if tally.complete:
        return Exit.SUCCESS
    kept = tally.reached and not tally.all_or_nothing
    return Exit.PARTLY if kept or tally.changed or tally.settings else Exit.FAILURE
