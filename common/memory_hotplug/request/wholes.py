"""What is asked of the machine as a whole: a layout, a total of online memory, the last change
undone."""

from collections.abc import Sequence

from memory_hotplug.attribute import Attribute
from memory_hotplug.block import State, is_on
from memory_hotplug.change.absence import absence_of
from memory_hotplug.change.guard import ZoneBalance
from memory_hotplug.change.journal import last_change
from memory_hotplug.change.lock import is_own
from memory_hotplug.change.plan import NEEDED, Action, Change, Order, change_back
from memory_hotplug.change.targets import (
    NEEDED_FOR_LAYOUT,
    Targets,
    removal_for,
    targets_on,
)
from memory_hotplug.change.undo import UNDO
from memory_hotplug.errors import BrokenTreeError, NoUndoError
from memory_hotplug.layout.model import Entry, Layout, Where
from memory_hotplug.layout.settings import differing, settings_to
from memory_hotplug.machine import Machine
from memory_hotplug.request.asked import Request
from memory_hotplug.request.selection import (
    Selection,
    Undoing,
    check_node,
    needed,
    select,
    select_changes,
)
from memory_hotplug.table import BlockTable
from memory_hotplug.trees import is_simulated

__all__ = ["select_layout", "select_total", "select_undo"]


def select_layout(request: Request, machine: Machine, layout: Layout, *, force: bool) -> Selection:
    """What LAYOUT changes. With FORCE zone Movable may become of any size. Raises LayoutError."""
    settings = differing(layout.policy, machine)
    if not layout.entries:
        return select_changes(request, machine, settings=settings, keep_free=layout.keep_free)
    table = machine.read(NEEDED_FOR_LAYOUT)
    removal = removal_for(machine, layout, table)
    targets = targets_on(machine, layout, table, removal, force=force)
    found = select_changes(request, machine, *targets, settings, layout.keep_free)
    found = found._replace(removal=removal, zones=lambda: table)
    unknown = len(machine.nodes) > 1 and False in table.columns[Attribute.CONFIGURED]
    if unknown and any(entry.node is not None for entry in layout.entries):

        def again() -> Targets:
            now = machine.read(NEEDED_FOR_LAYOUT)
            return targets_on(machine, layout, now, force=force, begun=True)

        found = found._replace(again=again)
    return found if force else _balanced(found, table)


def _balanced(selection: Selection, table: BlockTable) -> Selection:
    """The selection with a bound for zone Movable; its ratio is looked at once the work begins."""
    # Of a size nobody knows before which of its blocks are taken.
    ahead: Sequence[Change] = () if selection.by_size else selection.changes
    return selection._replace(balance=ZoneBalance(table, changes=ahead))


def select_total(request: Request, machine: Machine, *, force: bool) -> Selection:
    """What is to be set online or offline, so that the size of REQUEST is online. With FORCE zone
    Movable may become of any size. Raises UnknownNameError for a node that the machine must have
    and lacks."""
    check_node(request, machine)
    node, nodes = request.node, machine.nodes
    table = machine.read((*needed(node), Attribute.STATE))
    have = machine.block_size * sum(
        block.state is State.ONLINE
        and is_on(block, node, nodes)
        and (request.zone is None or request.zone in (block.zones or ()))
        for block in table.blocks()
    )
    want = request.size or 0
    if have == want:
        return select_changes(Request(request.text), machine)
    rest = request._replace(size=abs(want - have))
    if want < have:
        rest = rest._replace(order=Order(Action.DISABLE, request.zone))
    found = select(rest, machine, table)
    # What is offline counts, whether the hypervisor takes it back or not.
    counting = [one._replace(plan=one.plan._replace(suffices=True)) for one in found.changes]
    found = found._replace(changes=counting)
    return found if force else _balanced(found, table)


def select_undo(request: Request, machine: Machine) -> Selection:
    """What brings the last change back. Raises NoUndoError, and BrokenTreeError if the record of it
    cannot be read."""
    tree = machine.tree
    lives = (tree.is_this_machine or is_simulated(tree.place)) and is_own(tree.place)
    try:
        record = last_change(tree.place) if lives else None
    except ValueError:
        reason = f"the record of the last change, /{UNDO}, is damaged"
        raise NoUndoError(reason, damaged=True) from None
    except OSError as error:
        raise BrokenTreeError(UNDO, error.strerror or str(error)) from None
    if record is None:
        raise NoUndoError("no change is recorded that could be undone")
    table = machine.read(NEEDED)
    blocks = list(table.blocks())
    present = record.present(blocks)
    changes = [change_back(before, now) for before, now in reversed(present)]
    absent = record.absent(table.numbers)
    gone = sorted((row.first, row.last) for row in absent)
    absences = [absence_of(gone, Entry(Where(f"/{UNDO}")))] if gone else []
    settings = settings_to(record.settings, machine)
    found = select_changes(request, machine, changes, absences, settings)
    before = [before for before, _ in present]
    return found._replace(undoes=Undoing(record, before, absent, record.present_undone(blocks)))
