"""What is told before memory is taken away: what is in use, and what can go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chmem_py import messages
from chmem_py.command_lines import command, kept
from hotplug_cli import sizes
from hotplug_cli.message import Sentence, Wording
from memory_hotplug.change.plan import Action
from memory_hotplug.errors import InUseError
from memory_hotplug.face import Machine
from memory_hotplug.request.need import Need
from memory_hotplug.request.selection import Selection


def in_use(
    error: InUseError, machine: Machine, selection: Selection, said: Mapping[str, str]
) -> Sentence:
    """The message that nothing is begun, because too much memory is in use; with the options SAID
    in the command that is advised."""
    return messages.IN_USE.of(
        used=sizes.human(error.used),
        possible=sizes.human(error.possible) if error.possible else Wording("nothing", 0),
        asked=sizes.exact(error.asked),
        advice=_instead(error, machine, selection, said),
    )


def _instead(
    error: InUseError, machine: Machine, selection: Selection, said: Mapping[str, str]
) -> str:
    """What to type, in words."""
    if error.possible and selection.by_size and selection.request.action is Action.DISABLE:
        wet = {name: value for name, value in said.items() if name != "dry-run"}
        size = sizes.exact(error.possible)
        words = command(f"--disable {size}{kept(wet, 'disable')}", machine.tree)
        return f"{words} sets that much offline; --force takes what the kernel gives"
    return "--force takes what the kernel gives"


def warn(machine: Machine, need: Need) -> Iterator[Sentence]:
    """The message that struct pages will not fit into the memory that is free."""
    now = need.now
    if need.struct_pages > now.available:
        row = messages.NO_ROOM
        if machine.parameter("memmap_on_memory") in (None, "N"):
            row = messages.NO_ROOM_ANYWHERE
        yield row.of(size=sizes.human(need.struct_pages), available=sizes.human(now.available))
