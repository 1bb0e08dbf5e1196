"""What is told before memory is taken away: what is in use, what can go, and what would remain."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from chmem_py import messages
from chmem_py.advice import may_have, share_of
from chmem_py.command_lines import SAME_ACTION, command, options_of
from hotplug_cli import sizes
from hotplug_cli.block_names import named
from hotplug_cli.message import Sentence, Wording
from memory_hotplug.change.guard import ZoneBalance
from memory_hotplug.change.plan import Action
from memory_hotplug.errors import InUseError
from memory_hotplug.face import Machine
from memory_hotplug.request.need import Need
from memory_hotplug.request.selection import Selection

if TYPE_CHECKING:
    from memory_hotplug.request.outlook import Forecast, Remains


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
        kept = options_of(said, *(name for name in SAME_ACTION if name != "dry-run"))
        words = command(f"--disable {sizes.exact(error.possible)}{kept}", machine.tree)
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


def format_forecast(
    found: "Forecast", crowded: ZoneBalance | None, block_size: int
) -> Iterator[str]:
    """What a dry run finds: whether zone Movable would be large, what would remain of each node,
    what could fail, and which devices would be empty. CROWDED are the zones if it would be."""
    if crowded:
        yield f"zone Movable would have {share_of(crowded)}; {may_have(crowded)}"
    if found.machine:
        for node, remains in found.nodes.items():
            yield f"node {node}: {_what_remains(remains)}"
        yield _what_remains(found.machine)
    if found.doubtful:
        yield f"not in zone Movable, so that the kernel may refuse: {named(found.doubtful)}"
    if found.not_removable:
        refused = named(found.not_removable)
        yield f"not removable, so that the kernel will probably refuse: {refused}"
    if empty := [one.device for one in found.devices if not one.left]:
        yield f"would be empty, and could be removed: {', '.join(empty)}"
    for device, _, left in found.devices:
        if left:
            online = sizes.human(left * block_size)
            yield f"would be emptied in part: {device}, of which {online} would stay online"


def _what_remains(remains: "Remains") -> str:
    return (
        f"{sizes.human(remains.rest)} of {sizes.human(remains.total)} would remain; "
        f"{sizes.human(remains.used)} is in use"
    )
