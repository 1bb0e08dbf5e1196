"""What a dry run finds: which blocks change, which writes that takes, and what would remain."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.change.guard import ratio_of, takes_memory
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.rehearsal import Rehearsal
from memory_hotplug.change.removal import Emptied, not_removable
from memory_hotplug.machine import Machine
from memory_hotplug.request.work import Work
from memory_hotplug.seen.in_use import Usage

__all__ = ["Forecast", "Remains", "forecast_of"]


class Remains(NamedTuple):
    """The memory of a node, or of the machine, after a change; in bytes."""

    total: int
    """What there is, with what the change sets online."""
    rest: int
    """What remains of it, without what the change sets offline."""
    used: int
    """What is in use before the change."""


class Forecast(NamedTuple):
    """What is expected of a change. Two things only the kernel knows: whether the pages of a block
    can be moved, and whether there is memory for struct pages. Both are assumed. On a machine with
    several nodes, that of a block is not known before it is configured: what a layout says of that
    node is not in the forecast."""

    complete: bool
    """Whether all that is asked for would be so."""
    outcomes: Sequence[Outcome]
    """The latest of each block that would be changed, or would fail."""
    writes: Sequence[tuple[str, str]]
    """Path below the root, without a slash at its beginning, and word; in order."""
    nodes: Mapping[int, Remains]
    """What would remain of each node; empty if nothing is set offline, and if nobody tells how much
    memory is in use."""
    machine: Remains | None
    """What would remain of the machine; None as NODES is empty."""
    doubtful: Sequence[int]
    """Blocks that would be set offline, be it for a moment, and are not in zone Movable, so that
    the kernel may refuse; empty if nobody tells how much memory is in use."""
    not_removable: Sequence[int]
    """Such blocks of which the kernel says that they cannot be set offline; Linux before 5.8
    does."""
    devices: Sequence[Emptied]
    """The devices of which memory would be set offline."""
    crowded: bool
    """Whether zone Movable would become larger than the kernel itself lets it grow."""

    @property
    def changed(self) -> list[int]:
        """The numbers of the blocks that would be changed."""
        return [one.number for one in self.outcomes if one.result is Result.DONE]


def forecast_of(work: Work) -> Forecast:
    """What the dry run WORK, which is over, has found."""
    tally, tree = work.tally, work.machine.tree
    machine = tree.machine if isinstance(tree, Rehearsal) else work.machine
    done = [one for one in tally.outcomes.values() if one.result is Result.DONE]
    taken = [one.before for one in done if _comes(one.after, one.before)]
    given = [one.after for one in done if _comes(one.before, one.after)]
    known = work.need.now if work.need and taken else None
    left = [one.before for one in done if takes_memory(one.change)]
    staying = not_removable(machine) if left else ()
    return Forecast(
        tally.complete,
        tuple(tally.outcomes.values()),
        tuple(work.writes),
        _of_nodes(machine, known, taken, given) if known else {},
        _of_machine(machine, known, taken, given) if known else None,
        [block.number for block in left if work.need and zone_of(block) is not Zone.MOVABLE],
        [block.number for block in left if block.number in staying],
        tally.emptied,
        tally.crowded(ratio_of(work.machine)) is not None,
    )


def _comes(before: MemoryBlock, after: MemoryBlock) -> bool:
    """Whether a block is online only afterwards."""
    return before.state is not State.ONLINE and after.state is State.ONLINE


def _of_machine(
    machine: Machine, now: Usage, taken: Sequence[MemoryBlock], given: Sequence[MemoryBlock]
) -> Remains:
    size = machine.block_size
    total = now.total + len(given) * size
    return Remains(total, max(total - len(taken) * size, 0), now.used)


def _of_nodes(
    machine: Machine, now: Usage, taken: Sequence[MemoryBlock], given: Sequence[MemoryBlock]
) -> dict[int, Remains]:
    size = machine.block_size
    less, more, used = _per_node(machine, taken), _per_node(machine, given), now.used_by_node
    found = {}
    for node, there in now.nodes.items():
        total = there.total + more[node] * size
        found[node] = Remains(total, max(total - less[node] * size, 0), used[node])
    return found


def _per_node(machine: Machine, blocks: Sequence[MemoryBlock]) -> Counter[int]:
    """Node -> number of blocks. A block of several nodes is counted in the first one; one that is
    not configured has none yet, unless the machine has only one."""
    numbers = {block.number for block in blocks}
    found = machine.read((Attribute.NODES,), numbers).blocks() if numbers else ()
    nodes = machine.nodes
    only = nodes if len(nodes) == 1 else ()
    return Counter(min(block.nodes or only) for block in found if block.nodes or only)
