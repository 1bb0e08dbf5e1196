"""Bring a machine to a memory layout, save the layout that it has, and undo the last change."""

import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from chmem_py import messages
from chmem_py.output import Output
from chmem_py.request import Request
from chmem_py.run import Done
from chmem_py.selection import Selection, needed, select, select_wishes
from hotplug_cli.exits import Exit
from hotplug_cli.program import CommandError
from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.errors import LayoutError
from memory_hotplug.layout import Entry, Layout, Policy, Where
from memory_hotplug.layout_files import LONGEST, SAVED, read_file, read_layout, replace_file
from memory_hotplug.layout_text import format_layout, parse_layout, parse_policy
from memory_hotplug.machine import Machine
from memory_hotplug.outcome import Result
from memory_hotplug.plan import NEEDED, Action, Order
from memory_hotplug.ranges import BlockTable
from memory_hotplug.saving import (
    UNDO,
    added,
    entries_of,
    order_to,
    parse_change,
    stays_by_itself,
)
from memory_hotplug.settings import differing, settings_to, with_policy
from memory_hotplug.wishes import (
    NEEDED_FOR_WISHES,
    Absence,
    Wish,
    Wishes,
    is_on,
    wishes,
)

_HEADING = """\
The memory layout as chmem saved it; see memory-layout.d(5).
chmem --save and --persistent write this file anew. Lines of your own belong
into another file of this directory; one that sorts later overrides this one."""
_NO_HEADING = "The memory layout as chmem saved it; see memory-layout.d(5)."


class Job(NamedTuple):
    """What is asked for, and how its blocks are selected once the machine is held."""

    request: Request
    order: Order
    select: Callable[[], Selection]
    policy: Policy | None = None
    """The policy that is asked for, with --policy."""


def has_zones(table: BlockTable) -> bool:
    """Whether zones are used. Like util-linux, look only at the first block: if that block is not
    configured, zones are ignored."""
    return bool(table.numbers) and table.columns[Attribute.ZONES][0] is not None


def _request(text: str) -> Request:
    return Request(text, first=0, last=0)


# Apply


def to_apply(machine: Machine, where: str | None) -> Job:
    """The job for --apply. Raises LayoutError, and OSError if the layout cannot be read."""
    layout = _standard_input() if where == "-" else read_layout(machine.tree.system, where)
    request = _request(where or "memory-layout.d")

    def chosen() -> Selection:
        table = machine.read(NEEDED_FOR_WISHES)
        wanted = wishes(
            layout,
            table,
            configurable=machine.configurable,
            zones=has_zones(table),
            nodes=machine.nodes,
        )
        settings = differing(layout.policy, machine)
        return select_wishes(request, machine, wanted, settings, layout.keep_free)

    return Job(request, Order(Action.APPLY), chosen)


def to_set(machine: Machine, words: Sequence[str]) -> Job:
    """The job for --policy. Raises LayoutError for a setting or a value that there is not."""
    policy = parse_policy(words)
    request = _request(" ".join(words))

    def chosen() -> Selection:
        return select_wishes(request, machine, Wishes((), ()), differing(policy, machine))

    return Job(request, Order(Action.APPLY), chosen, policy)


def _standard_input() -> Layout:
    if sys.stdin is None:
        raise LayoutError("-", None, "standard input is closed")
    data = sys.stdin.buffer.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise LayoutError("-", None, "too long")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise LayoutError("-", None, "not UTF-8") from None
    return parse_layout(text, "-")


# A total


def to_total(machine: Machine, request: Request, order: Order, node: int | None) -> Job:
    """The job for --total: REQUEST is the size to have online, as ORDER says for more of it."""

    def chosen() -> Selection:
        table = machine.read(needed(node))
        more = Order(order.action, order.zone, order.memmap_on_memory, has_zones(table))
        less = Order(Action.DISABLE, order.zone)
        have = machine.block_size * sum(
            block.state is State.ONLINE
            and is_on(block, node, machine.nodes)
            and (order.zone is None or order.zone in (block.zones or ()))
            for block in table.blocks()
        )
        want = request.size or 0
        if have == want:
            return select_wishes(_request(request.text), machine, Wishes((), ()))
        rest = Request(request.text, abs(want - have))
        return select(rest, machine, table, more if want > have else less, node)

    return Job(request, order, chosen)


# Undo


def to_undo(machine: Machine) -> Job:
    """The job for --undo. Raises CommandError if nothing is recorded."""
    request = _request("undo")

    def chosen() -> Selection:
        root = machine.tree.root
        try:
            record = parse_change(read_file(root, UNDO))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            raise CommandError(messages.NOTHING_TO_UNDO.of()) from None
        except ValueError:
            raise CommandError(messages.UNDO_DAMAGED.of(file=f"/{UNDO}")) from None
        before = record.blocks
        entry = Entry(Where(f"/{UNDO}"))
        found = [block for block in machine.read(NEEDED).blocks() if block.number in before]
        # What was changed last is brought back first.
        turns = {number: -turn for turn, number in enumerate(before)}
        found.sort(key=lambda block: turns[block.number])
        gone = len(before) - len(found)
        here = {block.number for block in found}
        absent = tuple((number, number) for number in sorted(before) if number not in here)
        absences = [Absence(entry, gone, absent)] if gone else []
        wanted = [Wish(block, order_to(before[block.number]), entry) for block in found]
        settings = settings_to(record.settings, machine)
        return select_wishes(request, machine, Wishes(wanted, absences), settings)

    return Job(request, Order(Action.APPLY), chosen)


# Save


def save(machine: Machine, where: str | None, output: Output) -> int:
    """Write the present layout to the file WHERE, by default below the root; the exit status."""
    found = [block for block in machine.read(NEEDED).blocks() if not stays_by_itself(block)]
    if where == "-":
        output.write([_text(Layout(entries=entries_of(found)), _NO_HEADING).removesuffix("\n")])
        return Exit.SUCCESS
    if where is None:
        layout = replace(_saved(machine), entries=entries_of(found))
        _write(machine.tree.root, SAVED, _text(layout, _HEADING))
    else:
        directory, _, name = where.rpartition("/")
        text = _text(Layout(entries=entries_of(found)), _NO_HEADING)
        try:
            _write(directory or ("/" if where.startswith("/") else "."), name, text)
        except OSError as error:
            raise OSError(error.errno, error.strerror, where) from None
    return Exit.SUCCESS


def persist(machine: Machine, job: Job, done: Done) -> None:
    """Write what was changed, or was so already, to the layout: blocks, or the policy of JOB."""
    if job.policy:
        if done.status == Exit.SUCCESS:
            layout = with_policy(_saved(machine), job.policy)
            _write(machine.tree.root, SAVED, _text(layout, _HEADING))
        return
    tally = done.tally
    selection = tally.selection
    numbers = set(tally.numbers(Result.DONE))
    if not selection.by_size and done.signal is None:
        numbers |= {block.number for block in selection.blocks} - tally.outcomes.keys()
    if not numbers:
        return
    blocks: list[MemoryBlock] = list(machine.read(NEEDED, numbers).blocks())
    _write(machine.tree.root, SAVED, _text(added(_saved(machine), blocks), _HEADING))


def _saved(machine: Machine) -> Layout:
    """The layout in the file that chmem writes."""
    try:
        data = read_file(machine.tree.root, SAVED)
    except FileNotFoundError:
        return Layout()
    text = data.decode(errors="replace")
    return parse_layout(text, f"/{SAVED}") if text.strip() else Layout()


def _text(layout: Layout, heading: str) -> str:
    return format_layout(layout, heading)


def _write(root: str, path: str, text: str) -> None:
    replace_file(root, path, text.encode())
