"""The text of the files that bring memory to its layout at boot and when it is added.

The unit is for systemd(1), the rules are for udev(7). udev carries out the first rule that is about
a block, and the last entry of a layout counts: so the rules have the reverse order of the entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memory_hotplug.block import Zone
from memory_hotplug.condition import Condition
from memory_hotplug.trees.root_files import is_masked, is_there, link_of, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.model import Entry, Layout

__all__ = [
    "RULES",
    "UNIT",
    "WANTED",
    "globs",
    "is_applied_at_boot",
    "is_empty",
    "rules_text",
    "unit_text",
]

UNIT = "etc/systemd/system/memory-layout.service"
WANTED = "etc/systemd/system/sysinit.target.wants/memory-layout.service"
"""The link that has systemd start the unit."""
RULES = "etc/udev/rules.d/10-memory-layout.rules"
"""Its name sorts before those that distributions use: a block is set online only once."""

_UNITS = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
"""Where systemd looks for units; see systemd.unit(5)."""

_MOST_GLOBS = 64
"""The maximum of patterns in one rule; udev's lines are of limited length."""


def is_applied_at_boot(root: str) -> bool:
    """Whether the machine with this ROOT applies its layout at boot: the unit, of a package or of
    --install, is there, is enabled, and is not masked. Raises OSError."""
    name = UNIT.rpartition("/")[2]
    # systemd ignores what is no link (process_deps in src/core/load-dropin.c).
    if link_of(root, WANTED) is None or is_masked(root, WANTED):
        return False
    if is_masked(root, UNIT) or is_empty(root, UNIT):
        return False
    return any(is_there(root, f"{directory}/{name}") for directory in _UNITS)


def is_empty(root: str, path: str) -> bool:
    """Whether the file is there and empty: such a unit is masked (systemd.unit(5)), and udev reads
    no rule where others of its name may have some."""
    try:
        return is_there(root, path) and not read_file(root, path)
    except OSError:
        return False


def unit_text(program: str) -> str:
    """The unit that applies the layout at boot. PROGRAM is the command, for ExecStart.

    It ends before anything needs the memory, and what it cannot do does not hold up the boot. On
    s390 no event says that memory can be configured.
    """
    return f"""\
# Made by chmem --apply --install; chmem --uninstall removes it.
[Unit]
Description=Memory layout
Documentation=man:memory-layout.d(5) man:chmem(8)
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target systemd-sysctl.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program.replace("%", "%%")} --apply --advice=always --timeout 20
TimeoutStartSec=180

[Install]
WantedBy=sysinit.target
"""


def rules_text(layout: Layout, block_size: int) -> str:
    """The rules for blocks that are added later. BLOCK_SIZE is in bytes.

    An entry with a size has no rule: which blocks it takes depends on the others.
    """
    lines = [
        "# Made from memory-layout.d by chmem --apply --install; chmem --uninstall removes it.",
        'SUBSYSTEM!="memory", GOTO="memory_layout_end"',
        'ACTION!="add", GOTO="memory_layout_end"',
        'KERNEL!="memory[0-9]*", GOTO="memory_layout_end"',
    ]
    for entry in reversed(layout.entries):
        if entry.size is None and entry.condition is not Condition.DECONFIGURED:
            lines += _rules(entry, block_size)
    return "\n".join([*lines, 'LABEL="memory_layout_end"', ""])


def _rules(entry: Entry, block_size: int) -> Iterator[str]:
    ranges = entry.blocks or tuple(
        (first // block_size, last // block_size) for first, last in entry.addresses
    )
    patterns = [pattern for ends in ranges for pattern in globs(*ends)]
    groups = [patterns[at : at + _MOST_GLOBS] for at in range(0, len(patterns), _MOST_GLOBS)]
    for group in groups or [[]]:
        match = f'KERNEL=="{"|".join(f"memory{pattern}" for pattern in group)}", ' if group else ""
        if entry.node is not None:
            match += f'TEST=="node{entry.node}", '
        for state, word in _writes(entry):
            yield f'{match}ATTR{{state}}=="{state}", ATTR{{state}}="{word}"'
        yield f'{match}GOTO="memory_layout_end"'


def _writes(entry: Entry) -> Sequence[tuple[str, str]]:
    """What is written, and the state that a block must have for it."""
    if entry.condition is Condition.OFFLINE:
        return [("online", "offline")]
    if entry.zone is None:
        # As chmem does: into Movable if that is possible.
        return [("offline", "online_movable"), ("offline", "online")]
    word = "online_movable" if entry.zone is Zone.MOVABLE else "online_kernel"
    return [("offline", word)]


def globs(first: int, last: int) -> list[str]:
    """Patterns of a shell that match the decimal numbers FIRST to LAST, both inclusive, and no
    others: ``8-23`` is ``[89]``, ``1[0-9]``, ``2[0-3]``."""
    found: list[str] = []
    while first <= last:
        # The longest run from FIRST on that is a prefix, a digit, and any digits.
        zeros = 0
        while first % 10 ** (zeros + 1) == 0 and first and first + 10 ** (zeros + 1) - 1 <= last:
            zeros += 1
        unit = 10**zeros
        digit = first // unit % 10
        end = digit
        while end < 9 and first + (end - digit + 2) * unit - 1 <= last:
            end += 1
        above = first // unit // 10
        found.append(f"{above or ''}{_digits(digit, end)}{'[0-9]' * zeros}")
        first += (end - digit + 1) * unit
    return found


def _digits(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"[{first}{last}]" if last == first + 1 else f"[{first}-{last}]"
