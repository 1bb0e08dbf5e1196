"""The differences from util-linux that docs/util-linux.md lists, as the fuzz recognizes them.

Most are found by trial: what is said to be the cause is taken away, and then util-linux must do to
the byte what ours did. So a difference cannot hide behind another one.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from random_trees import COLUMNS
from simulated import Condition
from static_tree import FIRMWARE, MEMORY, write
from util_linux import Seen


@dataclass(frozen=True)
class Case:
    """A command line, and what both did."""

    program: str
    words: Sequence[str]
    variables: Mapping[str, str]
    columns: int
    theirs: Seen
    ours: Seen
    root: Path
    """The tree; for chmem that of our machine."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[int, Condition] = field(default_factory=dict)
    their_blocks: Mapping[int, Condition] = field(default_factory=dict)
    our_blocks: Mapping[int, Condition] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Where util-linux says nothing on standard error, we may."""
        one, other = self.theirs, self.ours
        alike = (one.status, one.out) == (other.status, other.out)
        return alike and one.err in ("", other.err) and self.their_blocks == self.our_blocks


class Again(NamedTuple):
    """Runs a command line of lsmem once more, in util-linux's or in ours."""

    theirs: Callable[[Sequence[str], Mapping[str, str], int], Seen]
    ours: Callable[[Sequence[str], Mapping[str, str], int], Seen]


# What util-linux does once the cause is taken away


class Trial(NamedTuple):
    """A command line and a tree that may be changed."""

    words: list[str]
    variables: dict[str, str]
    root: Path


BLOCK = r"memory(0|[1-9]\d*)"
"""The name that a kernel gives to a block."""


class Cause(NamedTuple):
    name: str
    take_away: Callable[[Trial], None]
    both: bool = False
    """Whether ours is tried without the cause, too: neither does then what it did."""


def _texts(root: Path, pattern: str, change: Callable[[str], str]) -> None:
    for path in root.glob(pattern):
        if path.is_file():
            write(path, change(path.read_text().removesuffix("\n")))


def _plain_online(trial: Trial) -> None:
    def online(text: str) -> str:
        return "online" if text in ("online_movable", "online_kernel") else text

    _texts(trial.root, f"{MEMORY}/memory*/state", online)


def _states(trial: Trial) -> None:
    def known(text: str) -> str:
        return text if text in ("online", "offline", "going-offline") else "offline"

    if (trial.root / FIRMWARE).exists():
        _texts(trial.root, f"{MEMORY}/memory*/state", known)
        for block in (trial.root / MEMORY).glob("memory[0-9]*"):
            if not (block / "state").exists():
                write(block / "state", "offline")


def _many_zones(trial: Trial) -> None:
    _texts(trial.root, f"{MEMORY}/memory*/valid_zones", lambda text: " ".join(text.split()[:8]))


def _names(trial: Trial) -> None:
    for path in [*trial.root.glob(f"{MEMORY}/*"), *trial.root.glob(f"{FIRMWARE}/*")]:
        if path.is_dir() and not re.fullmatch(BLOCK, path.name):
            shutil.rmtree(path)


def _several_nodes(trial: Trial) -> None:
    """Leave the lowest."""
    for block in (trial.root / MEMORY).glob("memory*"):
        links = [path for path in block.glob("node*") if path.name[4:].isdigit()]
        for path in sorted(links, key=lambda path: int(path.name[4:]))[1:]:
            path.unlink() if path.is_symlink() else path.rmdir()


def _firmware_without_its_first(trial: Trial) -> None:
    if not (trial.root / FIRMWARE / "memory0").exists():
        shutil.rmtree(trial.root / FIRMWARE, ignore_errors=True)


def _only_in_firmware(trial: Trial) -> None:
    """What is configured has a memoryN, and the other way round."""
    if not (trial.root / FIRMWARE).exists():
        return
    for block in (trial.root / FIRMWARE).glob("memory[0-9]*"):
        if not (trial.root / MEMORY / block.name).exists():
            write(block / "config", "0")
    for block in (trial.root / MEMORY).glob("memory[0-9]*"):
        config = trial.root / FIRMWARE / block.name / "config"
        if not config.parent.exists():
            shutil.rmtree(block)
        elif not config.exists() or config.read_text().strip() != "1":
            write(block / "state", "offline")
            write(block / "removable", "0")
            (block / "valid_zones").unlink(missing_ok=True)


def _flags(trial: Trial) -> None:
    for name in ("config", "memmap_on_memory"):
        for block in (trial.root / FIRMWARE).glob("memory[0-9]*"):
            found = (block / name).read_text().strip() if (block / name).exists() else ""
            write(block / name, "1" if found == "1" else "0")


def _removable_number(trial: Trial) -> None:
    _texts(trial.root, f"{MEMORY}/memory*/removable", lambda text: text if text == "1" else "0")


def _no_node_column(trial: Trial) -> None:
    _without(trial, ["NODE"], "SIZE")


def _no_firmware_columns(trial: Trial) -> None:
    if not (trial.root / FIRMWARE / "memory0").exists():
        _without(trial, ["CONFIGURED", "MEMMAP-ON-MEMORY"], "CONFIGURED")


def _without(trial: Trial, names: Sequence[str], instead: str) -> None:
    """Take columns out of all lists; in a list of nothing else is then INSTEAD."""

    def less(text: str) -> str:
        plus, parts = "+" * text.startswith("+"), text.removeprefix("+").split(",")
        kept = [part for part in parts if part.upper() not in names]
        return plus + ",".join(kept or [instead])

    for at, option, listed in _lists(trial.words):
        trial.words[at] = option + less(listed)
    if value := trial.variables.get("LSMEM_COLUMNS"):
        trial.variables["LSMEM_COLUMNS"] = less(value)
    left = [name for name in COLUMNS if name not in names]
    trial.words[:] = [
        f"-o{','.join(left)}" if word == "--output-all" else word for word in trial.words
    ]


def _lists(words: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """The places of lists of columns: the index of the word, what is before the list, the list."""
    for at, word in enumerate(words):
        if at and words[at - 1] in ("-o", "-S", "--output"):
            yield at, "", word
        elif found := re.fullmatch(r"(-o|-S|--out=|--split=)(.+)", word):
            yield at, found[1], found[2]


CAUSES = (
    Cause("a tree of plain files in which chmem has written online_movable", _plain_online),
    Cause("an unknown state beside /sys/firmware/memory is ?, and not offline", _states),
    Cause("more than eight zones are shown", _many_zones, both=True),
    Cause("memory007 and the like are no blocks", _names),
    Cause("of several nodes the lowest", _several_nodes),
    Cause("/sys/firmware/memory without memory0", _firmware_without_its_first, both=True),
    Cause("configured without a memoryN, or the other way round", _only_in_firmware, both=True),
    Cause("config and memmap_on_memory are 0 or 1", _flags, both=True),
    Cause("removable is 0 or 1", _removable_number),
    Cause("NODE of memory that is not configured is empty", _no_node_column, both=True),
    Cause("util-linux: fails where columns about firmware have no values", _no_firmware_columns),
)


def _tried(case: Case, causes: Sequence[Cause], again: Again) -> bool:
    """Whether the difference goes away with these causes."""
    aside = case.root.with_name("aside")
    shutil.copytree(case.root, aside, symlinks=True)
    trial = Trial([*case.words], {**case.variables}, case.root)
    try:
        for cause in causes:
            cause.take_away(trial)
        theirs = again.theirs(trial.words, trial.variables, case.columns)
        ours = case.ours
        if any(cause.both for cause in causes):
            ours = again.ours(trial.words, trial.variables, case.columns)
    finally:
        shutil.rmtree(case.root)
        aside.rename(case.root)
    return replace(case, theirs=_plain(theirs), ours=_plain(ours)).same


def without_tooltips(text: str) -> str:
    """Headings with a tooltip have one without its text."""
    return re.sub("\033]8;;[^\033]+\033\\\\", "\033]8;;-\033\\\\", text)


def _plain(seen: Seen) -> Seen:
    return seen._replace(out=without_tooltips(seen.out))


# What is seen at once

OPTION_ERRORS = ("unrecognized option", "ambiguous", "requires an argument", "invalid option")
"""Errors of getopt_long, whose words are those of the C library."""


def _failed(case: Case) -> bool:
    return case.theirs.status == case.ours.status == 1


def _about_options(case: Case) -> bool:
    return _failed(case) and all(
        any(one in seen.err for one in OPTION_ERRORS) for seen in (case.theirs, case.ours)
    )


def _too_many(case: Case) -> bool:
    silent = case.theirs.status == 1 and not case.theirs.err
    lists = [value for _, _, value in _lists(case.words)]
    return silent and any(value.count(",") >= 8 for value in lists)


Seen_at_once = tuple[str, Callable[[Case], bool]]

AT_ONCE: Sequence[Seen_at_once] = (
    ("the tooltips are our own", lambda case: replace(
        case, theirs=_plain(case.theirs), ours=_plain(case.ours)).same),
    ("getopt's words about an option", _about_options),
    ("a list of columns may be of any length", _too_many),
    ("util-linux: a machine of which no block is configured is not listed", lambda case: (
        "Failed to read" in case.theirs.err and case.ours.status == 0)),
    ("util-linux: fails where columns about firmware have no values", lambda case: (
        case.theirs.status == 1 and "lsmem.c" in case.theirs.err
        and "cannot allocate memory" in case.theirs.err
        and not (case.root / FIRMWARE / "memory0").exists())),
    ("util-linux: no blocks, and a reason that says nothing", lambda case: (
        "Failed to read" in case.theirs.err and "no memory blocks in" in case.ours.err)),
    ("memory007 and the like are no blocks", lambda case: (
        case.theirs.status == 0 and "no memory blocks in" in case.ours.err
        and not any(re.fullmatch(BLOCK, path.name) for path in (case.root / MEMORY).iterdir()))),
    ("a damaged block size is reported", lambda case: (
        case.ours.status == 1 and "should hold the block size in hexadecimal" in case.ours.err)),
    ("a root that does not exist is named", lambda case: _failed(case) and (
        case.ours.err.startswith(f"{case.program}: cannot open {case.words[1]}: ")
        and not Path(case.words[1]).exists())),
)  # fmt: skip


def named(case: Case, again: Again) -> list[str]:
    """The names of the differences that a case of lsmem shows; none if it has another one."""
    if case.variables.get("LSMEM_COLUMNS") == "" and not case.theirs.err and case.theirs.status:
        variables = {name: text for name, text in case.variables.items() if name != "LSMEM_COLUMNS"}
        theirs = again.theirs(case.words, variables, case.columns)
        other = replace(case, variables=variables, theirs=theirs)
        more = [] if other.same else named(other, again)
        return (
            ["util-linux: an empty LSMEM_COLUMNS makes it fail", *more]
            if more or other.same
            else []
        )
    for name, holds in AT_ONCE:
        if holds(case):
            return [name]
    for cause in CAUSES:
        if _tried(case, [cause], again):
            return [cause.name]
    needed = [*CAUSES]
    if not _tried(case, needed, again):
        return []
    for cause in CAUSES:
        fewer = [other for other in needed if other is not cause]
        if _tried(case, fewer, again):
            needed = fewer
    return [cause.name for cause in needed]


# chmem


def _action(case: Case) -> str:
    """The letter of what is to be done; of several the last one counts."""
    given = [re.match("--?([edcg])", word) for word in case.words]
    return "".join(found[1] for found in given if found)[-1:]


def _is_first(case: Case, block: int) -> bool:
    return block == min(case.before) and case.before[block].config == 0


def _undone(case: Case) -> Case:
    """What was changed of a block in vain is taken back; nothing is said of that block then."""
    blocks, theirs, mine = {**case.their_blocks}, case.theirs.out, case.ours.out
    for number, before in case.before.items():
        left = blocks[number]
        if before.config != 0 or left == before:
            continue
        line = rf"Memory Block {number} \(.*\n"
        if case.our_blocks[number] != before:
            # Ours tried to take it back, and could not.
            if re.search(rf"Memory Block {number} .* failed while undoing", case.ours.err):
                theirs, mine = re.sub(line, "", theirs), re.sub(line, "", mine)
            continue
        in_vain = left.config == 1 and left.state == "offline" and _action(case) == "e"
        if in_vain or left == before._replace(memmap=left.memmap):
            blocks[number] = before
            theirs, mine = re.sub(line, "", theirs), re.sub(line, "", mine)
    return replace(
        case,
        theirs=case.theirs._replace(out=theirs),
        ours=case.ours._replace(out=mine),
        their_blocks=blocks,
    )


def _zone_of_the_first(case: Case) -> Case:
    blocks = {
        number: now._replace(zone=case.our_blocks[number].zone) if _is_first(case, number) else now
        for number, now in case.their_blocks.items()
    }
    return replace(case, their_blocks=blocks)


def _kernel_sets_online(case: Case) -> bool:
    """Whether the kernel may have set a block online that either configured."""
    new = [n for n, block in case.before.items() if block.config == 0]
    auto = case.machine.get("auto_online_blocks", "offline") != "offline"
    return (
        auto
        and _action(case) == "e"
        and any(
            case.their_blocks[n].state == "online" or case.our_blocks[n].state == "online"
            for n in new
        )
    )


def _is_size(case: Case) -> bool:
    return "-b" not in case.words and not re.search("[0-9]-|0x.*-", case.words[-1])


def _prefix(case: Case) -> bool:
    if "DMA" not in case.words or _action(case) != "d":
        return False
    tried = [
        number
        for number, now in case.their_blocks.items()
        if now != case.before[number] or f"Memory Block {number} " in case.theirs.err
    ]
    return any(case.before[number].zone == "DMA32" for number in tried)


def _said(case: Case) -> Case:
    """Without the sentences that are our own."""
    kept = [line for line in case.ours.err.splitlines(True) if not _OWN.search(line)]
    return replace(case, ours=case.ours._replace(err="".join(kept)))


_OWN = re.compile(
    "online already, in zone|offline, but still configured|set online by the kernel itself|"
    "not on this machine|came back in zone|is left offline|while undoing|"
    "the hypervisor keeps the storage"
)


def _left(case: Case) -> Case:
    """Where blocks are left changed, though not as requested, the status is 64."""
    halfway = [
        number
        for number, now in case.their_blocks.items()
        if now != case.before[number] and (now.config, now.state) == (1, "offline")
    ]
    changed = case.their_blocks != case.before and case.theirs.status == 1
    if case.ours.status == 64 and (changed or (halfway and _action(case) == "d")):
        return replace(case, theirs=case.theirs._replace(status=64))
    return case


OF_CHMEM: Sequence[tuple[str, Callable[[Case], Case]]] = (
    ("what was changed of a block in vain is taken back", _undone),
    ("the first block of all comes into the zone of the kernel's choice", _zone_of_the_first),
    ("blocks that are left changed are status 64", _left),
    ("what util-linux passes over is said", _said),
)
"""Name -> what util-linux would have done without this difference."""

AT_ONCE_OF_CHMEM: Sequence[Seen_at_once] = (
    ("getopt's words about an option", _about_options),
    ("-e -m is allowed", lambda case: (
        re.search("options --(enable|memmap\\S+) and --(enable|memmap\\S+) cannot", case.theirs.err)
        is not None)),
    ("util-linux: a machine of which no block is configured cannot be changed", lambda case: (
        "Failed to read /sys/devices/system/memory" in case.theirs.err)),
    ("half a range is an error", lambda case: (
        "Invalid parameter" in case.ours.err and case.words[-1].strip("-") != case.words[-1])),
    ("-d -z DMA does not take DMA32", _prefix),
    ("storage that the hypervisor keeps is told", lambda case: (
        (case.theirs.status, case.ours.status) == (0, 64)
        and case.their_blocks == case.our_blocks and case.theirs.out == case.ours.out
        and "the hypervisor keeps the storage" in case.ours.err)),
    ("what is so already is not written", lambda case: (
        "-m" in case.words and "memmap-on-memory failed" in case.theirs.err
        and not case.machine["memmap_supported"])),
    ("no more is tried after two ENOMEM in a row", lambda case: (
        "not tried, because no memory is left for struct pages" in case.ours.err)),
    ("-z holds also for what the kernel itself sets online", lambda case: (
        _kernel_sets_online(case) and "-z" in case.words and not _is_size(case))),
    ("util-linux: of a size, what the kernel itself sets online is not counted", lambda case: (
        _kernel_sets_online(case) and _is_size(case))),
)  # fmt: skip


def named_of_chmem(case: Case) -> list[str]:
    """The names of the differences that a case of chmem shows; none if it has another one."""
    for name, holds in AT_ONCE_OF_CHMEM:
        if holds(case):
            return [name]
    names = []
    for name, without in OF_CHMEM:
        other = without(case)
        if other != case:
            names.append(name)
            case = other
        if case.same:
            break
    return names if case.same else []
