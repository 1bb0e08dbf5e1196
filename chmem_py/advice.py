"""The messages that util-linux does not have: why something failed, and what to do now.

They are made from data. Nothing is read or written here, except who the user is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from chmem_py import cause_messages, messages
from chmem_py.command_lines import command, kept_for_blocks, program
from hotplug_cli import sizes, tree_messages
from hotplug_cli.block_names import named, named_one, named_runs, ranges_named, some
from hotplug_cli.message import Message, Sentence, Wording
from hotplug_cli.remarks import absent_sentence
from memory_hotplug.block import MemoryBlock, State, Zone, zone_of
from memory_hotplug.causes import Cause
from memory_hotplug.change.guard import ZoneBalance, ratio_of
from memory_hotplug.change.outcome import Outcome, Result
from memory_hotplug.change.plan import Action
from memory_hotplug.errors import BlockError, CannotWriteError, StuckError, printable
from memory_hotplug.face import Machine
from memory_hotplug.named_tuple import NamedTuple
from memory_hotplug.request.selection import Selection
from memory_hotplug.request.tally import Tally
from memory_hotplug.seen.in_use import usage
from memory_hotplug.table import MEMMAP_FRACTION
from memory_hotplug.trees.files import Tree

PASSED_OVER = (Cause.NOT_OFFLINE, Cause.NOT_DECONFIGURED)
"""Causes for which a block is passed over, with a SIZE, before anything is written to it."""


# Words


def done_word(action: Action) -> str:
    """enabled, disabled, ...; changed, where each block has an order of its own."""
    if action is Action.APPLY:
        return "changed"
    return f"{action.value.removesuffix('e')}ed"


# What is not there


def format_doubts(selection: Selection) -> Iterator[Sentence]:
    """Messages before the work: what is not there, and what may not be meant."""
    if selection.by_size:
        yield from _doubt_size(selection)
        return
    if selection.request.action is Action.APPLY:
        for absence in selection.absences:
            yield absent_sentence(absence, selection.block_size)
    elif selection.absences:
        (absent,) = selection.absences
        blocks = named_runs([(absent.ranges[0][0], absent.ranges[-1][1])])
        if len(absent.ranges) == 1:
            yield messages.NOT_HERE.of(blocks=blocks)
        else:
            yield messages.SOME_NOT_HERE.of(count=absent.blocks, blocks=blocks)
    elif not selection.changes and selection.request.whole:
        yield _none(selection)
    elif not selection.changes:
        yield messages.NONE_ON_NODE.of(node=selection.request.node)


def _doubt_size(selection: Selection) -> Iterator[Sentence]:
    """The message about a number that is more than the machine has, if it was meant otherwise."""
    text, total = selection.request.text, selection.machine_size
    if selection.bytes_asked <= total:
        return
    if text.startswith("0x"):
        # Of a total, what is asked for is only the rest.
        yield messages.TAKEN_FOR_SIZE.of(text=text, size=sizes.exact(sizes.parse(text)))
    elif text.isdecimal():
        size, whole = int(text), int(text) % selection.block_size == 0
        if whole and size <= total:
            yield messages.TAKEN_FOR_MIB.of(
                text=text, total=sizes.exact(total), size=sizes.exact(size)
            )
        else:
            yield messages.MIB_WITHOUT_UNIT.of(text=text, total=sizes.exact(total))


def format_mib(tally: Tally) -> Iterator[Sentence]:
    """What was done for a SIZE without a unit, which may be meant as the number of a block."""
    selection, text = tally.selection, tally.selection.request.text
    # With --total what is changed is the difference to the number.
    typed = text.isdecimal() and int(text) << 20 == selection.bytes_asked
    if selection.by_size and typed and tally.done:
        numbers = tally.numbers(Result.DONE)
        row = messages.MIB_DONE_THERE if numbers == [int(text)] else messages.MIB_DONE
        yield row.of(
            text=text,
            size=sizes.exact(tally.bytes_done),
            done=done_word(selection.request.action),
            blocks=named(numbers),
        )


def format_refusal(selection: Selection) -> Iterator[Sentence]:
    """Messages for --all-or-nothing that nothing is begun, because there are too few blocks."""
    if selection.by_size:
        yield messages.NOT_ENOUGH.of(
            requested=sizes.exact(selection.bytes_asked),
            possible=sizes.exact(selection.bytes_possible),
            done=done_word(selection.request.action),
        )
    yield messages.NOTHING_CHANGED.of()


def format_shortage(selection: Selection) -> Iterator[Sentence]:
    """Messages why there are too few blocks for a size."""
    if not selection.by_size:
        return
    if not selection.asked:
        yield messages.SIZE_OF_NOTHING.of()
    elif not selection.changes:
        yield _none(selection)


def format_not_added(selection: Selection, machine: Machine) -> Iterator[Sentence]:
    """What the kernel said of memory that came and made no block, where none is there to enable."""
    if selection.request.action is not Action.ENABLE or selection.changes:
        return
    from memory_hotplug.seen.failed_adds import not_added_on

    for line, fits in not_added_on(machine):
        size = f" ({sizes.exact(fits[1])} would have made whole blocks)" if fits else ""
        yield messages.NOT_ADDED.of(line=printable(line), fits=size)


def _none(selection: Selection) -> Sentence:
    request = selection.request
    node, device = request.node, request.device
    if not selection.node_exists:
        return messages.NO_SUCH_NODE.of(node=node)
    no_block = "no memory block" if node is None else f"no memory block of node {node}"
    if device is not None:
        no_block += f" of device {device}"
    if request.action is Action.ENABLE:
        if request.zone:
            return messages.NONE_FOR_ZONE.of(no_block=no_block, zone=request.zone.value)
        return messages.NONE_OFFLINE.of(no_block=no_block)
    if request.action is Action.DISABLE:
        if request.zone:
            return messages.NONE_IN_ZONE.of(no_block=no_block, zone=request.zone.value)
        return messages.NONE_ONLINE.of(no_block=no_block)
    return messages.NONE_LEFT.of(no_block=no_block, done=done_word(request.action))


def format_cannot_write(error: CannotWriteError) -> Sentence:
    """The message that nothing is tried, because no write can succeed."""
    advice = ""
    if error.errno != errno.EROFS:
        advice = _row(Cause.DENIED, error.where).of(reason="", program=program()).advice
    return messages.CANNOT_WRITE.of(file=error.where, reason=error.reason, advice=advice)


# Causes


class Words(NamedTuple):
    """The words for an error of a block."""

    reason: str
    """The reason, in a few words."""
    advice: str = ""
    """The likely cause, and what to do now."""


def words_of(error: BlockError, tally: Tally) -> Words:
    """The words for an error of a block."""
    sentence = _row_of(error, tally).of(
        reason=os.strerror(error.errno) if error.errno else "",
        zone=error.zone.value if error.zone else "none",
        zones=", ".join(zone.value for zone in error.zones) or "none",
        file=error.where,
        size=sizes.human(tally.selection.block_size // MEMMAP_FRACTION),
        program=program(),
    )
    return Words(sentence.text, "" if isinstance(error, StuckError) else sentence.advice)


def _row_of(error: BlockError, tally: Tally) -> Message:
    why = tally.why.get(error.number)
    if error.cause is Cause.UNMOVABLE and why and why.not_removable:
        return cause_messages.NOT_REMOVABLE
    if error.cause is Cause.UNMOVABLE and not error.zones:
        return cause_messages.UNMOVABLE_ANYWHERE
    if error.cause is Cause.NO_STRUCT_PAGES and why and why.nowhere_else:
        return cause_messages.NO_STRUCT_PAGES_BUT_ELSEWHERE
    return _row(error.cause, error.where)


def _row(cause: Cause, where: str) -> Message:
    if cause is Cause.DENIED and where.startswith("/sys/"):
        return cause_messages.DENIED_TO_USER if os.geteuid() else cause_messages.DENIED_TO_ROOT
    return cause_messages.BY_CAUSE[cause]


# After the work


def format_advice(
    tally: Tally, machine: Machine, said: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Sentence]:
    """Messages after the work: the causes, and how to go on; with the options SAID in the commands
    that are advised."""
    tree, request = machine.tree, tally.selection.request
    outcomes, kept = tally.outcomes.values(), kept_for_blocks(said)
    for outcome in outcomes:
        if outcome.stuck:
            yield format_left(outcome, tree, kept)
    yield from _on_causes(tally)
    for number, why in tally.why.items():
        if why.page:
            yield messages.PAGE_STAYS.of(
                block=named_one(number),
                address=Wording(f"0x{why.page.address:016x}", why.page.address),
                what=why.page.what,
            )
        for address in why.poisoned:
            where = Wording(f"0x{address:016x}", address)
            yield messages.PAGE_POISONED.of(block=named_one(number), address=where)
    for zone, numbers in tally.elsewhere.items():
        yield messages.NOT_IN_ZONE.of(
            blocks=named(numbers), now=zone.value, zone=request.zone.value if request.zone else None
        )
    if machine.configurable:
        yield from _on_online(tally, machine)
    yield from _on_zones(outcomes)
    stay = tally.still_configured
    if stay:
        ways = [command(f"--deconfigure --blocks {run}{kept}", tree) for run in ranges_named(stay)]
        sentence = messages.STILL_CONFIGURED.of(
            blocks=named(stay), commands=Wording("; ".join(some(ways)), ways)
        )
        yield sentence._replace(always=bool(tally.left_configured))
    if tally.storage_kept:
        yield messages.STORAGE_KEPT.of(blocks=named(tally.storage_kept))


def _on_zones(outcomes: Iterable[Outcome]) -> Iterator[Sentence]:
    """Messages about blocks that came back in another zone, by both zones."""
    found: dict[tuple[str | None, str | None], list[int]] = {}
    for outcome in outcomes:
        back = outcome.change.plan.target.returning or outcome.result is not Result.DONE
        if back and outcome.moved:
            now, before = zone_of(outcome.after), outcome.home
            zones = now.value if now else None, before.value if before else None
            found.setdefault(zones, []).append(outcome.number)
    for (is_in, was_in), numbers in found.items():
        yield messages.ANOTHER_ZONE.of(
            blocks=named(numbers),
            now=is_in,
            before=was_in,
            were="it was" if len(numbers) == 1 else "they were",
        )


def format_devices(tally: Tally) -> Iterator[Sentence]:
    """Messages about devices that are empty now, and those of which only a part is offline."""
    size, emptied = tally.selection.block_size, tally.emptied
    empty = [one.device for one in emptied if not one.left]
    if empty:
        yield messages.EMPTY.of(devices=Wording(", ".join(empty), empty))
    for device, _, left in emptied:
        if left:
            yield messages.EMPTY_IN_PART.of(device=device, size=sizes.human(left * size))


def share_of(zones: ZoneBalance) -> Wording:
    """How much zone Movable has, in words."""
    percent = zones.percent
    words = "all memory" if percent is None else f"{percent} % of all other zones"
    return Wording(words, percent)


def may_have(zones: ZoneBalance) -> Wording:
    """How much the kernel itself would let zone Movable have, in words."""
    return Wording(f"the kernel itself lets it grow to {zones.ratio} %", zones.ratio)


def format_crowded(crowded: ZoneBalance, tally: Tally, machine: Machine) -> Sentence:
    """The message that little memory is left to the zones of the kernel."""
    size = sizes.exact(crowded.excess * tally.selection.block_size)
    return messages.CROWDED.of(
        share=share_of(crowded),
        ratio=may_have(crowded),
        disable=command(f"--disable {size} --zone Movable", machine.tree),
        enable=command(f"--enable {size} --zone Normal", machine.tree),
    )


def _on_online(tally: Tally, machine: Machine) -> Iterator[Sentence]:
    """Messages about blocks that the kernel itself set online, where that may be unexpected."""
    for zone, numbers in tally.set_online.items():
        if tally.selection.request.action is Action.CONFIGURE or zone is not Zone.MOVABLE:
            yield messages.SET_ONLINE.of(
                blocks=named(numbers),
                zone=zone.value if zone else "unknown",
                policy=machine.auto_online_blocks,
            )


def _on_causes(tally: Tally) -> Iterator[Sentence]:
    """A sentence for each cause of failure, with the blocks that failed."""
    found: dict[tuple[Message, Words], list[int]] = {}
    for number, outcome in tally.outcomes.items():
        for error in _errors(outcome):
            row = _advice_row(tally, error)
            if row:
                words = words_of(error, tally)
                found.setdefault((row, words), []).append(number)
    for (row, words), numbers in found.items():
        if words.advice or row is messages.BLOCKS_FAILED_BECAUSE:
            row = row if words.advice else messages.BLOCKS_FAILED
            yield row.of(blocks=named(numbers), reason=words.reason, advice=words.advice)


def _errors(outcome: Outcome) -> list[BlockError]:
    errors = [outcome.error] if outcome.error else []
    if outcome.stuck and outcome.stuck is not outcome.error:
        errors.append(outcome.stuck)
    return errors


def _advice_row(tally: Tally, error: BlockError) -> Message | None:
    """The row for advice. With a size the reason was not printed yet, so the row includes it."""
    passed_over = error.cause in PASSED_OVER
    if not tally.selection.by_size or isinstance(error, StuckError):
        return messages.WHY_PASSED_OVER if passed_over else messages.WHY_STEP_FAILED
    if passed_over and tally.done >= tally.selection.asked:
        return None
    return messages.BLOCKS_FAILED_BECAUSE


def format_not_tried(tally: Tally, machine: Machine) -> Iterator[Sentence]:
    """Messages about blocks that were not tried, to keep the machine alive."""
    for cause, numbers in tally.not_tried.items():
        blocks = named(sorted(numbers))
        if cause is Cause.KERNEL_ZONES:
            # Of a layout that sets the bound and is taken back as a whole, that one counted.
            bound = tally.selection.balance
            ratio = bound.ratio if bound else ratio_of(machine)
            yield tree_messages.KERNEL_ZONES.of(blocks=blocks, ratio=ratio)
        elif cause is Cause.KEPT_FREE:
            now = usage(machine)
            available = sizes.human(now.available) if now else Wording("too little", None)
            yield messages.KEPT_FREE.of(blocks=blocks, available=available)
        else:
            yield messages.NOT_TRIED.of(blocks=blocks)


def format_left(outcome: Outcome, tree: Tree, options: str = "") -> Sentence:
    """The messages about a block that could not be brought back; OPTIONS are for the command."""
    block, condition = named_one(outcome.number), format_condition(outcome.after)
    if outcome.before.state is not State.ONLINE or outcome.after.state is State.ONLINE:
        return messages.LEFT.of(block=block, condition=condition)
    return messages.LEFT_OFFLINE.of(
        block=block, condition=condition, command=_way_back(outcome, tree, options)
    )


def format_condition(block: MemoryBlock) -> str:
    """The condition of a block, in words."""
    words = [block.state.value]
    if block.configured is not None:
        words.append("configured" if block.configured else "deconfigured")
    if block.memmap_on_memory is not None:
        words.append(f"memmap_on_memory {int(block.memmap_on_memory)}")
    return ", ".join(words)


def _way_back(outcome: Outcome, tree: Tree, options: str) -> str:
    """The command that sets a block online again as it was before."""
    before, words = outcome.before, f"--enable --blocks {outcome.number}"
    if before.memmap_on_memory is not None and not outcome.after.configured:
        words += f" --memmap-on-memory {int(before.memmap_on_memory)}"
    zone = zone_of(before)
    if zone not in (None, Zone.NONE, Zone.UNKNOWN):
        words += f" --zone {zone.value}"
    return command(f"{words}{options}", tree)
