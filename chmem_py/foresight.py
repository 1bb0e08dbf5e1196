"""Look before memory is taken away: what is in use, what can go, and what would remain."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from chmem_py import messages
from chmem_py.advice import may_have, share_of
from chmem_py.command_lines import SAME_ACTION, command, options_of
from chmem_py.selection import Selection
from chmem_py.tally import Tally
from hotplug_cli import sizes
from hotplug_cli.block_names import named
from hotplug_cli.message import Sentence
from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.change.claims import examples
from memory_hotplug.change.guard import ratio_of, takes_memory
from memory_hotplug.change.outcome import Result
from memory_hotplug.change.plan import Action
from memory_hotplug.change.removal import not_removable
from memory_hotplug.layout.places import read_layout
from memory_hotplug.machine import Machine
from memory_hotplug.seen.in_use import Usage, usage
from memory_hotplug.table import MEMMAP_FRACTION


@dataclass(frozen=True, slots=True)
class Need:
    """What a change needs at most, at one time, of the memory that is online."""

    blocks: int
    """The number of blocks that are taken, less those that were given before."""
    struct_pages: int
    """Bytes for the struct pages of blocks that do not hold their own, less the memory that the
    blocks before have given."""
    takes: bool
    """Whether any block is taken at all."""
    now: Usage
    """What there is before the change."""


def kept_free(machine: Machine, selection: Selection, given: int | None) -> int | None:
    """The bytes that are to stay available: GIVEN by an option, or by the layout that is applied,
    or by that of the machine; None if none says so.

    Raises LayoutError, and OSError if the layout cannot be read.
    """
    if given is not None:
        return given
    if selection.keep_free is not None:
        return selection.keep_free
    return read_layout(machine.tree.system).keep_free


def refuse(machine: Machine, tally: Tally, need: Need, keep_free: int | None) -> Sentence | None:
    """The reason not to begin, because too much memory is in use; None if there is none.

    KEEP_FREE bytes are to stay available; None is the default.
    """
    now, selection = need.now, tally.selection
    size = selection.block_size
    possible = now.most_to_take(keep_free) // size
    if need.blocks <= possible:
        return None
    asked = selection.asked if selection.by_size else need.blocks
    return messages.IN_USE.of(
        used=sizes.human(now.used),
        possible=sizes.human(possible * size) if possible else "nothing",
        asked=sizes.exact(asked * size),
        advice=_instead(machine, tally, possible),
    )


def _instead(machine: Machine, tally: Tally, possible: int) -> str:
    """What to type, in words."""
    selection = tally.selection
    request = selection.request
    if possible and selection.by_size and request.action is Action.DISABLE:
        size = sizes.exact(possible * selection.block_size)
        said = options_of(tally.said, *(name for name in SAME_ACTION if name != "dry-run"))
        words = command(f"--disable {size}{said}", machine.tree)
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


def need_of(machine: Machine, selection: Selection) -> Need | None:
    """What SELECTION needs, if no block fails; None where nobody tells how much memory is in use.

    The blocks are changed one after the other.
    """
    now = usage(machine)
    if now is None:
        return None
    size = selection.block_size
    taken = most_taken = room = most_room = 0
    takes = False
    ahead = (change for change in selection.changes if change.is_ahead)
    for change in islice(ahead, selection.enough):
        was = change.block
        for _, block in change.stages():
            if was.state is State.ONLINE and block.state is not State.ONLINE:
                takes = True
                taken += 1
                most_taken = max(most_taken, taken)
            if block.configured and not was.configured and not block.memmap_on_memory:
                room += size // MEMMAP_FRACTION
                most_room = max(most_room, room)
            if block.state is State.ONLINE and was.state is not State.ONLINE:
                taken -= 1
            was = block
        if was.state is State.ONLINE and change.block.state is not State.ONLINE:
            room -= size
    spares = {id(change.spares): change.spares for change in selection.changes}
    takes = takes or any(map(takes_memory, chain.from_iterable(map(examples, spares.values()))))
    return Need(most_taken, most_room, takes, now)


# A dry run


def forecast(machine: Machine, tally: Tally, now: Usage | None) -> Iterator[str]:
    """What a dry run finds: whether zone Movable would be large, what would remain of each node,
    what could fail, and which devices would be empty. NOW is what there is before the change."""
    done = [one for one in tally.outcomes.values() if one.result is Result.DONE]
    taken = [one.before for one in done if _comes(one.after, one.before)]
    if crowded := tally.crowded(ratio_of(machine)):
        yield f"zone Movable would have {share_of(crowded)}; {may_have(crowded)}"
    if not taken:
        return
    given = [one.after for one in done if _comes(one.before, one.after)]
    if now:
        yield from _what_remains(machine, now, taken, given)
    staying = not_removable(machine)
    if refused := [block.number for block in taken if block.number in staying]:
        yield f"not removable, so that the kernel will probably refuse: {named(refused)}"
    size = tally.selection.block_size
    if empty := [one.device for one in tally.emptied if not one.left]:
        yield f"would be empty, and could be removed: {', '.join(empty)}"
    for device, _, left in tally.emptied:
        if left:
            online = sizes.human(left * size)
            yield f"would be emptied in part: {device}, of which {online} would stay online"


def _comes(before: MemoryBlock, after: MemoryBlock) -> bool:
    """Whether a block is online only afterwards."""
    return before.state is not State.ONLINE and after.state is State.ONLINE


def _what_remains(
    machine: Machine, now: Usage, taken: Sequence[MemoryBlock], given: Sequence[MemoryBlock]
) -> Iterator[str]:
    size = machine.block_size
    less, more, used = _per_node(machine, taken), _per_node(machine, given), now.used_by_node
    for node, there in now.nodes.items():
        total = there.total + more[node] * size
        rest = max(total - less[node] * size, 0)
        yield (
            f"node {node}: {sizes.human(rest)} of {sizes.human(total)} would remain; "
            f"{sizes.human(used[node])} is in use"
        )
    total = now.total + len(given) * size
    rest = max(total - len(taken) * size, 0)
    yield (
        f"{sizes.human(rest)} of {sizes.human(total)} would remain; "
        f"{sizes.human(now.used)} is in use"
    )
    doubtful = [block.number for block in taken if zone_of(block) is not Zone.MOVABLE]
    if doubtful:
        yield f"not in zone Movable, so that the kernel may refuse: {named(doubtful)}"


def _per_node(machine: Machine, blocks: Sequence[MemoryBlock]) -> Counter[int]:
    """Node -> number of blocks. A block of several nodes is counted in the first one; one that is
    not configured has none yet, unless the machine has only one."""
    numbers = {block.number for block in blocks}
    found = machine.read((Attribute.NODES,), numbers).blocks() if numbers else ()
    nodes = machine.nodes
    only = nodes if len(nodes) == 1 else ()
    return Counter(min(block.nodes or only) for block in found if block.nodes or only)
