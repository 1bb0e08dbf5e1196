"""Make a change stay: the layout that --persistent writes, and what applies it at boot."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from chmem_py import messages
from chmem_py.install import (
    check_install,
    hindrance,
    install_units,
    refresh_rules,
    remove_units,
)
from chmem_py.job import Job
from chmem_py.lasting_files import bring, why_not_made
from chmem_py.layouts import (
    HEADING,
    SAVED_NAME,
    check_own,
    layout_in,
    other_layouts,
    saved_layout,
    saved_text,
)
from chmem_py.output import Output
from chmem_py.run import Done
from hotplug_cli.block_names import named
from hotplug_cli.exits import Exit
from hotplug_cli.message import Message, Sentence, Wording
from hotplug_cli.program import CommandError
from memory_hotplug.attribute import Attribute
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.guard import ratio_of
from memory_hotplug.change.lock import Held
from memory_hotplug.change.outcome import Result
from memory_hotplug.change.plan import NEEDED, Change, change_to
from memory_hotplug.change.saved import added
from memory_hotplug.change.targets import NEEDED_FOR_LAYOUT, forecast_on, targets_on
from memory_hotplug.change.undo import Rewritten
from memory_hotplug.errors import LayoutError
from memory_hotplug.face import Machine
from memory_hotplug.layout.at_boot import is_applied_at_boot
from memory_hotplug.layout.model import Layout, Policy, Where, joined
from memory_hotplug.layout.notation import format_layout
from memory_hotplug.layout.places import SAVED, read_layout
from memory_hotplug.layout.settings import with_policy, word_of
from memory_hotplug.request.selection import Selection
from memory_hotplug.request.tally import Tally
from memory_hotplug.table import BlockTable
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.root_files import why_not_written

_SYSTEMD_RUNS = "/run/systemd/system"
"""This directory is there if systemd is what booted this machine; see sd_booted(3)."""


def check_place(machine: Machine) -> None:
    """Raise CommandError if no layout could be written that is applied at boot; LayoutError if the
    present one is broken, so that nothing of it is applied; and OSError."""
    check_own(machine)
    tree = machine.tree
    if reason := why_not_made(tree, SAVED):
        raise CommandError(reason)
    other_layouts(machine)
    saved_layout(machine)
    if not is_applied_at_boot(tree.root):
        if not _has_systemd(tree):
            raise CommandError(messages.NO_SYSTEMD.of())
        check_install(tree)


def _has_systemd(tree: Tree) -> bool:
    return not tree.is_this_machine or os.path.isdir(_SYSTEMD_RUNS)


class Contest(NamedTuple):
    """What else says what the memory is to be, when a change is to stay."""

    machine: Machine
    others: Sequence[tuple[str, Layout]]
    """Name and layout of each file, without that which chmem writes; ascending."""
    saved: Layout
    """The layout in that file, before the change."""
    table: BlockTable
    """The blocks before the change, which are the nearest to those after a boot."""

    def check(self, job: Job, selection: Selection) -> None:
        """Raise CommandError if what is planned would not stay."""
        planned = [change for change in selection.changes if not change.plan.refused]
        likely = [change.after for change in islice(planned, selection.enough)]
        if reason := self.refusal(self.settled(likely, selection), job.policy, messages.OVERRIDDEN):
            raise CommandError(reason)

    def refusal(
        self, blocks: Sequence[MemoryBlock], policy: Policy | None, row: Message
    ) -> Sentence | None:
        """Why BLOCKS would not be so again, or a POLICY, after a boot: ROW for what another file
        says; None if they would. Raises LayoutError."""
        if policy and (place := self._other_policy(policy)):
            what, file = place
            return row.of(place=file, what=what, saved=SAVED)
        contested: dict[Where, list[int]] = {}
        for block, change in self._claims(blocks):
            if _overfills(change):
                ratio = ratio_of(self.machine, self.whole(self.saved).policy)
                return messages.TOO_MUCH_MOVABLE.of(ratio=ratio)
            if change.entry and not (_is_ours(change) or _agrees(change, block)):
                contested.setdefault(change.entry.where, []).append(block.number)
        for where, numbers in contested.items():
            return row.of(place=_place(where), what=named(numbers), saved=SAVED)
        return None

    def settled(self, blocks: Sequence[MemoryBlock], selection: Selection) -> Sequence[MemoryBlock]:
        """BLOCKS as the layout is to have them. Where nobody asked for a zone, and no layout gives
        so much memory to Movable, any zone will do: they go there if they can, as they did."""
        if selection.request.zone or not any(_overfills(one) for _, one in self._claims(blocks)):
            return blocks
        return [
            block._replace(zones=None) if zone_of(block) is Zone.MOVABLE else block
            for block in blocks
        ]

    def _claims(self, blocks: Sequence[MemoryBlock]) -> Iterator[tuple[MemoryBlock, Change]]:
        """Each of BLOCKS, and what the whole layout with these blocks makes of it after a boot."""
        if not blocks:
            return
        layout = self.whole(added(self.saved, sorted(blocks, key=lambda block: block.number)))
        found = forecast_on(self.machine, layout, self.table)
        claimed = {change.number: change for change in found.changes}
        for block in blocks:
            if change := claimed.get(block.number):
                yield block, change

    def whole(self, saved: Layout) -> Layout:
        """All files together, with SAVED for that which chmem writes."""
        before = [layout for path, layout in self.others if os.path.basename(path) < SAVED_NAME]
        after = [layout for path, layout in self.others if os.path.basename(path) > SAVED_NAME]
        return joined([*before, saved, *after])

    def with_nodes_now(self) -> "Contest":
        """The same, with the nodes of blocks that are configured only now. A boot learns them when
        it configures these blocks."""
        names = (Attribute.NODES, Attribute.NODE)
        now = {block.number: block for block in self.machine.read(names).blocks()}
        columns = dict(self.table.columns)
        for name in names:
            columns[name] = [
                getattr(now[number], name) if value is None and number in now else value
                for number, value in zip(self.table.numbers, columns[name], strict=True)
            ]
        return self._replace(table=self.table._replace(columns=columns))

    def _other_policy(self, policy: Policy) -> tuple[str, str] | None:
        """A key of a POLICY that a later file has with another value; and that file."""
        for path, layout in self.others:
            said = layout.policy.said if os.path.basename(path) > SAVED_NAME else {}
            for key, value in policy.said.items():
                if said.get(key, value) != value:
                    return key, f"/{path}"
        return None


def contest_of(machine: Machine) -> Contest:
    """What else says what the memory is to be. Raises LayoutError, and OSError."""
    others = other_layouts(machine)
    table = machine.read(NEEDED_FOR_LAYOUT)
    return Contest(machine, others, saved_layout(machine), table)


def _is_ours(change: Change) -> bool:
    """Whether the entry is one of the file that chmem writes, or one that it is about to write."""
    return change.entry is not None and change.entry.where.file in ("", f"/{SAVED}")


def _overfills(change: Change) -> bool:
    """Whether a change of ours is refused because zone Movable would be too large."""
    refused = change.plan.refused
    return _is_ours(change) and refused is not None and refused.cause is Cause.KERNEL_ZONES


def _agrees(change: Change, block: MemoryBlock) -> bool:
    """Whether a CHANGE that a layout asks for leaves the block in the condition of BLOCK, as far as
    its zone is known."""
    order = change.order
    if block.state is State.ONLINE and zone_of(block) is None:
        order = order._replace(zone=None)
    return change_to(block, order).plan.already


def _place(where: Where) -> str:
    return where.file if where.line is None else f"{where.file}:{where.line}"


# What is written


def persist(
    machine: Machine, job: Job, done: Done, contest: Contest, held: Held | None, output: Output
) -> int:
    """Write what was changed, or was so already, to the layout: blocks, or the policy of JOB. Where
    nothing applies the layout at boot, install what does. The exit status.

    Without HELD, as in a dry run, it is only said. Raises LayoutError, and OSError.
    """
    found = _to_persist(machine, done, rehearsed=held is None)
    blocks = contest.settled(found, done.tally.selection)
    if not (done.status == Exit.SUCCESS if job.policy else blocks):
        return done.status
    layout = contest.saved
    layout = with_policy(layout, job.policy) if job.policy else added(layout, blocks)
    text = format_layout(layout, HEADING)
    installs = not is_applied_at_boot(machine.tree.root)
    dry_run = held is None
    before = saved_text(machine)
    if held and (text != before or installs):
        # First, because this process may be killed between the two.
        held.add_layout(Rewritten(before, text, installs or None))
    bring(machine.tree.root, SAVED, text, output, dry_run=dry_run)
    if installs:
        install_units(machine, output, dry_run=dry_run)
    else:
        refresh_rules(machine, contest.whole(layout), output, dry_run=dry_run)
    if not (output.files or output.document or done.tally.changed or done.tally.settings):
        output.write(["nothing to change"])
    now = contest.with_nodes_now()
    if reason := now.refusal(blocks, job.policy, messages.OVERRIDDEN_NOW):
        output.say(reason)
        return Exit.PARTLY
    return done.status


def _to_persist(machine: Machine, done: Done, *, rehearsed: bool) -> list[MemoryBlock]:
    """The blocks that were changed, or were already as requested; ascending. One that could not be
    deconfigured has been set offline nevertheless."""
    tally = done.tally
    if tally.all_or_nothing and not tally.complete:
        return []
    changed = {*tally.numbers(Result.DONE), *tally.left_configured}.intersection(tally.changed)
    numbers = set(changed) if tally.selection.by_size else changed | set(tally.as_wanted)
    if not numbers:
        return []
    found = machine.read(NEEDED, numbers).blocks()
    if not rehearsed:
        return list(found)
    return [
        tally.outcomes[block.number].after if block.number in changed else block for block in found
    ]


def put_back(machine: Machine, layout: Rewritten, held: Held | None, output: Output) -> bool:
    """Let the layout that chmem writes have its text again, and remove or install again what the
    change installed or removed; whether nobody else wrote the layout since.

    Without HELD it is only said. Raises LayoutError, and OSError.
    """
    root, dry_run = machine.tree.root, held is None
    now = saved_text(machine)
    # A process that was killed may have recorded the text without writing it, or put it back.
    if now not in (layout.before, layout.after):
        return False
    if dry_run and now != layout.before and (refusal := why_not_written(root, SAVED)):
        raise refusal
    bring(root, SAVED, layout.before, output, f"/{SAVED} is as it was before", dry_run=dry_run)
    rest = contest_of(machine).whole(layout_in(machine, layout.before))
    installed = None
    if layout.installed and not (rest.entries or rest.policy.said):
        # Without what is really removed or installed, undoing this finds nothing to do. Where the
        # text was put back before, something may have been removed then.
        removed = remove_units(machine.tree, output, dry_run=dry_run)
        installed = False if removed or now != layout.after else None
    elif layout.installed is False and not is_applied_at_boot(root):
        if hindrance(machine.tree):
            raise CommandError(messages.NOT_APPLIED.of(file=f"/{SAVED}"))
        installed = True
        install_units(machine, output, dry_run=dry_run)
    else:
        refresh_rules(machine, rest, output, dry_run=dry_run)
    if held and (layout.before != layout.after or installed is not None):
        # Last: until then the record has the layout as what is left to undo.
        held.add_layout(Rewritten(layout.after, layout.before, installed))
    return True


# What does not stay


def reverted(machine: Machine, tally: Tally, keeps: str) -> Sentence | None:
    """What the layout, which is applied at boot, changes back then, in one sentence; None if
    nothing. KEEPS says what would make it stay. A layout that cannot be read changes nothing."""
    numbers = set(tally.changed)
    try:
        layout = read_layout(machine.tree.root)
        said = layout.policy.said
        settings = [
            setting.key
            for setting in tally.settings
            if setting.key in said and word_of(said[setting.key]) != setting.word
        ]
        files = {layout.policy.where.file} if settings and layout.policy.where else set()
        blocks = []
        if layout.entries and numbers:
            for change in targets_on(machine, layout, machine.read(NEEDED_FOR_LAYOUT)).changes:
                if change.number in numbers and change.is_ahead and change.entry:
                    blocks.append(change.number)
                    files.add(change.entry.where.file)
    except (LayoutError, OSError):
        return None
    what = [*settings, *([named(sorted(blocks))] if blocks else [])]
    if not what:
        return None
    return messages.WILL_REVERT.of(
        what=", ".join(what),
        files=Wording(" and ".join(sorted(files)), sorted(files)),
        keeps=keeps,
    )
