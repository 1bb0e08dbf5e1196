"""Whether what chmem did and told is as its manual says. The machine is asked itself, by what its
simulated kernel knows; nothing of the library is used."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from layouts import SAVED
from lines import MIB, Line
from memsim.directory import Directory
from memsim.kernel import Kernel
from simulated import Condition, conditions_of
from told import said_in, unlike, untrue

PARTLY = 64
Fault = tuple[str, str]
"""A kind of fault, and what is not right."""


class Seen(NamedTuple):
    """A machine at some time."""

    blocks: dict[int, Condition]
    settings: dict[str, str]
    saved: str
    """The text of the layout that chmem writes."""
    online: int
    """Bytes."""
    available: int | None
    """Bytes; None if the machine does not tell."""
    record: bytes = b""
    """What can be undone."""


def seen(root: Path) -> Seen:
    kernel = Directory(root).kernel()
    known = kernel.machine.used > 0
    saved, record = root / SAVED, root / "run/memory-hotplug/undo.json"
    return Seen(
        dict(conditions_of(kernel)),
        settings_of(kernel),
        saved.read_text() if saved.exists() else "",
        kernel.online_blocks() * kernel.machine.block_size,
        kernel.free_memory() if known else None,
        record.read_bytes() if record.exists() else b"",
    )


def settings_of(kernel: Kernel) -> dict[str, str]:
    state = kernel.state
    found = {"auto_online": state.auto_online_blocks, "online_policy": state.online_policy}
    if state.online_policy is not None:
        found["auto_movable_ratio"] = str(state.auto_movable_ratio)
        found["auto_movable_numa_aware"] = "Y" if state.auto_movable_numa_aware else "N"
    return {key: word for key, word in found.items() if word is not None}


@dataclass
class Ran:
    """A command, and what became of the machine."""

    line: Line
    before: Seen
    after: Seen
    status: int
    out: str
    err: str
    document: dict[str, Any] | None = None
    looks: Sequence[Seen] = ()
    """The machine before each write, in order."""
    elsewhere: Collection[int] = ()
    """The blocks that another program has changed meanwhile."""
    layout: dict[str, Any] | None = None
    """What is applied."""
    keep_free: int | None = None
    """Bytes, as a layout says."""
    nodes: Mapping[int, Collection[int]] = field(default_factory=dict)
    """Block -> its nodes."""
    block_size: int = 128 * MIB

    @property
    def said(self) -> str:
        lines = said_in(self.document) if self.document else [self.out]
        return "\n".join((*lines, self.err))

    @property
    def moved(self) -> list[int]:
        """The blocks that changed, in more than their zones unless a layout is about these."""
        before, after = self.before.blocks, self.after.blocks
        same = self.line.action not in ("apply", "undo")
        return [
            n
            for n in after
            if n in before and before[n] != after[n]
            if unlike(before[n], after[n]) or not (same or told_of(self, n))
        ]

    @property
    def refused_by_kernel(self) -> bool:
        """Whether a write failed, or the hypervisor kept the storage of a block that the kernel
        deconfigured, which no dry run can know."""
        if not self.document:
            return False
        blocks = self.document["blocks"]
        failed = any(step["errno"] for block in blocks for step in block["steps"])
        return failed or bool(self.document["storage_kept"])


def faults_of(ran: Ran) -> Iterator[Fault]:
    """All that is not right with a command that nobody has ended."""
    if "Traceback" in ran.err or ran.status == -1:
        yield "traceback", ran.err
        return
    if ran.status not in (0, 1, PARTLY):
        yield "status", f"status {ran.status}"
    if ran.document and "dry-run" not in ran.line:
        told = untrue(ran.status, ran.document, ran.before.blocks, ran.after.blocks, ran.elsewhere)
        yield from (("told", reason) for reason in told)
    if ran.status and not ran.said:
        yield "silent", f"status {ran.status}, and nothing is said"
    if "dry-run" in ran.line:
        if ran.after != ran.before:
            yield "dry run", f"{ran.before} became {ran.after}"
        return
    yield from _nothing_done(ran)
    if not ran.elsewhere:
        yield from _as_asked(ran)
    yield from _kept_free(ran)
    yield from _kernel_zones(ran)


def _nothing_done(ran: Ran) -> Iterator[Fault]:
    """Status 1 is that nothing was changed, and one that is not 0 is that not all was done."""
    before, after = ran.before, ran.after
    if ran.status == 1 and not ran.elsewhere:
        if ran.moved or before.settings != after.settings:
            yield "status 1", f"status 1, but {ran.moved} or settings changed: {ran.said}"
        if before.saved != after.saved:
            yield "status 1", f"status 1, but the layout changed: {ran.said}"
    if ran.status == PARTLY and not ran.elsewhere and "all-or-nothing" in ran.line:
        # The block is as asked where only its storage stays.
        kept = _storage_kept(ran)
        left = "failed while undoing" in ran.said or "is left" in ran.said or kept
        if not left and ran.line.action not in ("undo",) and "persistent" not in ran.line:
            yield "all or nothing", f"a part was done: {ran.said}"


# What was asked for


def _as_asked(ran: Ran) -> Iterator[Fault]:
    line = ran.line
    if line.action in _BLOCK_IS_SO and not ("node" in line or "device" in line):
        if "blocks" in line or "-" in line.operands[0]:
            yield from _named(ran)
        else:
            yield from _sized(ran)
    elif line.action == "total":
        yield from _total(ran)
    elif line.action == "apply" and ran.layout is not None and ran.status == 0:
        yield from _layout(ran)
    elif line.action == "policy" and ran.status == 0:
        for word in line.operands:
            key, _, value = word.partition("=")
            value = {"true": "Y", "false": "N"}.get(value, value)
            if ran.after.settings.get(key) != value:
                yield "policy", f"status 0, but {key} is {ran.after.settings.get(key)}"


def _asked(ran: Ran) -> range:
    first, _, last = ran.line.operands[0].partition("-")
    if "blocks" in ran.line:
        return range(int(first), int(last or first) + 1)
    return range(int(first, 16) // ran.block_size, (int(last, 16) + 1) // ran.block_size)


def _enabled(line: Line, was: Condition, now: Condition) -> bool:
    memmap = line.options.get("memmap-on-memory")
    return now.state == "online" and memmap in (None, str(now.memmap))


def _disabled(line: Line, was: Condition, now: Condition) -> bool:
    return now.state != "online" and not (was.state == "online" and now.config == 1)


def _reconfigured(line: Line, was: Condition, now: Condition) -> bool:
    memmap = line.options["memmap-on-memory"]
    return str(now.memmap) == memmap and (was.state, was.config) == (now.state, now.config)


_BLOCK_IS_SO: dict[str, Callable[[Line, Condition, Condition], bool]] = {
    "enable": _enabled,
    "disable": _disabled,
    "configure": lambda line, was, now: (
        now.config == 1 and line.options.get("memmap-on-memory") in (None, str(now.memmap))
    ),
    "deconfigure": lambda line, was, now: now.config == 0,
    "reconfigure": _reconfigured,
}
"""Action -> whether a block is as it asks."""


def as_asked(ran: Ran, number: int) -> bool:
    """Whether a block is as it was asked for; also where nothing is asked of a single block."""
    is_so = _BLOCK_IS_SO.get(ran.line.action)
    return is_so is None or is_so(ran.line, ran.before.blocks[number], ran.after.blocks[number])


def _named(ran: Ran) -> Iterator[Fault]:
    """Status 0 if, and only if, all blocks that are named are as asked."""
    before, after, line = ran.before.blocks, ran.after.blocks, ran.line
    if "order" in line:
        if ran.status != 1:
            yield "status", f"status {ran.status}, but --order goes with a SIZE: {ran.said}"
        return
    so: list[int] = []
    not_so: list[int] = []
    for number in _asked(ran):
        there = number in after and (after[number].config is not None or _present(ran, number))
        good = there and _BLOCK_IS_SO[line.action](line, before[number], after[number])
        (so if good else not_so).append(number)
    if ran.status == 0 and not_so:
        yield "status 0", f"status 0, but not so: {not_so}: {ran.said}"
    if ran.status and not not_so and "persistent" not in line and not _storage_kept(ran):
        yield "status", f"status {ran.status}, but all is so: {ran.said}"
    if ran.status == 1 and so and "all-or-nothing" not in line and "persistent" not in line:
        begun = ran.document is None or ran.document["blocks"] or ran.document["blocks_already"]
        if ran.document and begun:
            yield "status 1", f"status 1, but {so} are so: {ran.said}"
    zone = line.options.get("zone")
    if line.action == "enable" and zone and _zones_known(ran):
        for number in _asked(ran):
            if number in ran.moved and after[number].state == "online":
                told = f"memory block {number}" in ran.said or "auto_online" in ran.said
                if after[number].zone != zone and not told and "memory blocks" not in ran.said:
                    yield "zone", f"{number} is in {after[number].zone}: {ran.said}"


def _storage_kept(ran: Ran) -> bool:
    """Whether the hypervisor was told to keep what was given back; the kernel does not see it."""
    return "the hypervisor keeps the storage" in ran.said


def _present(ran: Ran, number: int) -> bool:
    """Whether a block is there, on a machine where nothing is configured."""
    return ran.before.blocks[number].state != "absent"


def _zones_known(ran: Ran) -> bool:
    """The zone is ignored where the lowest block has none."""
    return ran.before.blocks[min(ran.before.blocks)].state != "absent"


def _sized(ran: Ran) -> Iterator[Fault]:
    """Status 0 if, and only if, so much was changed."""
    line = ran.line
    asked = int(line.operands[0].removesuffix("M")) * MIB // ran.block_size
    before, after = ran.before.blocks, ran.after.blocks
    done = [n for n in ran.moved if _BLOCK_IS_SO[line.action](line, before[n], after[n])]
    if ran.status == 0 and len(done) != asked:
        yield "status 0", f"status 0, {asked} asked, done {done}: {ran.said}"
    # What could not be deconfigured is offline nevertheless, and another block was taken.
    left = [n for n in ran.moved if before[n].state == "online" and n not in done]
    if left and not ran.status:
        yield "status 0", f"status 0, but {left} are still configured: {ran.said}"
    good = len(done) >= asked > 0 and not left and not _storage_kept(ran)
    # A block that could not be brought back may be online in another zone.
    good = good and " failed while undoing: " not in ran.said
    if ran.status and good and "persistent" not in line:
        yield "status", f"status {ran.status}, {asked} asked, done {done}: {ran.said}"


def _total(ran: Ran) -> Iterator[Fault]:
    line = ran.line
    zone, node = line.options.get("zone"), line.options.get("node")
    after = ran.after.blocks
    impossible = "memmap-on-memory" in line and after[min(after)].config is None
    if impossible or (zone and not _zones_known(ran)):
        return
    have = ran.block_size * sum(
        block.state == "online"
        and zone in (None, block.zone)
        and (node is None or int(node) in ran.nodes[number])
        for number, block in after.items()
    )
    want = int(line.operands[0].removesuffix("M")) * MIB
    if (ran.status == 0) != (have == want):
        yield "total", f"status {ran.status}, {have // MIB}M of {want // MIB}M: {ran.said}"


def _layout(ran: Ran) -> Iterator[Fault]:
    """With status 0, each entry of a layout is so, but for what a later one overrides."""
    assert ran.layout
    entries = ran.layout["memory"]
    later: set[int] = set()
    for entry in reversed(entries):
        meant = [n for n in ran.after.blocks if _is_meant(ran, entry, n)]
        so = [n for n in meant if _entry_is_so(entry, ran.after.blocks[n])]
        if "size" in entry:
            wanted = int(entry["size"].removesuffix("M")) * MIB // ran.block_size
            if _takes(entry):
                # Memory that is not there is not online.
                wanted -= len({*(_named_by(ran, entry) or ())} - {*meant})
            if len(so) < wanted and entry.get("missing") != "ignore":
                yield "layout", f"status 0, but of {entry} only {so}: {ran.said}"
            # It may claim them.
            later |= {*so}
        else:
            not_so = sorted({*meant} - {*so} - later)
            if not_so:
                yield "layout", f"status 0, but of {entry} not {not_so}: {ran.said}"
            later |= {*meant}


def _is_meant(ran: Ran, entry: Mapping[str, Any], number: int) -> bool:
    block = ran.after.blocks[number]
    if block.config is None and block.state == "absent":
        return False
    if "node" in entry:
        known = [node for nodes in ran.nodes.values() for node in nodes]
        absent = block.state == "absent" and len(set(known)) != 1
        if absent or entry["node"] not in ran.nodes[number]:
            return False
    named = _named_by(ran, entry)
    return named is None or number in named


def _named_by(ran: Ran, entry: Mapping[str, Any]) -> range | None:
    """The blocks that an entry names, there or not; None if it names none."""
    for key, unit, base in (("blocks", 1, 10), ("range", ran.block_size, 16)):
        if key in entry:
            first, last = (int(end, base) // unit for end in entry[key].split("-"))
            return range(first, last + 1)
    return None


def _entry_is_so(entry: Mapping[str, Any], block: Condition) -> bool:
    state = entry.get("state", "online")
    shown = "deconfigured" if block.state == "absent" else block.state
    memmap = entry.get("memmap_on_memory")
    return (
        shown == state
        and entry.get("zone") in (None, block.zone)
        and memmap in (None, bool(block.memmap))
    )


# What must remain


_GUARDED = ("disable", "reconfigure", "total", "apply", "undo")


def needs_looks(line: Line) -> bool:
    """Whether what must remain is judged, so that the machine is looked at before each write."""
    forced = "force" in line or line.options.get("keep-free") == "none"
    return line.action in _GUARDED and not forced


def _kept_free(ran: Ran) -> Iterator[Fault]:
    """No block is set offline so that too little memory is available, but for what came before in
    the same command."""
    # Nobody can look and write at once: what others take in between is theirs.
    if ran.before.available is None or ran.elsewhere or not needs_looks(ran.line):
        return
    steps = [*ran.looks, ran.after]
    for one, other in pairwise(steps):
        # What the same command has set online is not taken when it goes to another zone.
        taken = [n for n, block in ran.before.blocks.items() if block.state == "online"]
        gone = [n for n in taken if _goes_offline(n, one, other) and n not in ran.elsewhere]
        assert other.available is not None
        least = other.online // 20 if ran.keep_free is None else ran.keep_free
        if gone and other.available < min(least, ran.before.available):
            yield (
                "keep_free",
                f"{gone} taken: {other.available // MIB}M left of {least // MIB}M: {ran.said}",
            )
            return


def _goes_offline(number: int, one: Seen, other: Seen) -> bool:
    now = other.blocks.get(number)
    was = one.blocks.get(number)
    return was is not None and now is not None and was.state == "online" != now.state


def _kernel_zones(ran: Ran) -> Iterator[Fault]:
    """What asks for Movable gives it no more than the kernel would itself."""
    asks = _asking_for_movable(ran)
    if asks is None or ran.elsewhere or not needs_looks(ran.line):
        return
    steps = [*ran.looks, ran.after]
    for one, other in pairwise(steps):
        new = [n for n in asks if _enters_movable(n, ran.before, one, other)]
        zones = [block.zone for block in other.blocks.values() if block.state == "online"]
        movable = zones.count("Movable")
        kernel = len(zones) - movable
        ratio = int(other.settings.get("auto_movable_ratio", 301))
        if new and movable * 100 > kernel * ratio:
            yield "kernel zones", f"{new} into Movable: {movable} to {kernel}: {ran.said}"
            return


def _enters_movable(number: int, before: Seen, one: Seen, other: Seen) -> bool:
    if number not in other.blocks or before.blocks[number].zone == "Movable":
        return False
    return other.blocks[number].zone == "Movable" != one.blocks[number].zone


def _asking_for_movable(ran: Ran) -> Collection[int] | None:
    """The blocks that are asked to be in Movable by name of the zone; None if nothing is."""
    if ran.line.action == "total" and ran.line.options.get("zone") == "Movable":
        return list(ran.before.blocks)
    if ran.line.action != "apply" or ran.layout is None:
        return None
    entries = ran.layout["memory"]
    if all(entry.get("zone") == "Movable" or _takes(entry) for entry in entries):
        # The kernel may set one online that is only to be configured; it may do so for a moment.
        return [n for n in ran.before.blocks if ran.after.blocks[n].zone == "Movable"]
    return None


def _takes(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("state", "online") != "online")


def told_of(ran: Ran, number: int) -> bool:
    """Whether a message or the document says something of a block, other than that it is done."""
    failed = [
        block["block"]
        for block in (ran.document["blocks"] if ran.document else ())
        if block["result"] != "done"
    ]
    if number in failed:
        return True
    messages = "\n".join(said_in(ran.document)) if ran.document else ran.said
    spans = re.findall(r"(?i)blocks? ((?:\d+(?:-\d+)?(?:, | and )?)+)", messages)
    return any(
        int(first) <= number <= int(last or first)
        for span in spans
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", span)
    )
