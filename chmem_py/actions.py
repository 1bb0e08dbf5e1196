"""The table of chmem's actions: which operands and options each takes; `jobs` has what it does.

What an action does not take is refused. The command line, --help, completion, the commands that
messages advise and the table in chmem(8) follow from this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chmem_py import messages
from chmem_py.options import Options
from hotplug_cli import messages as shared
from hotplug_cli.getopt import GetoptUsageError, UsageError, did_you_mean, either
from hotplug_cli.message import Message, Sentence
from memory_hotplug.named_tuple import NamedTuple


class Operands(NamedTuple):
    """The words that an action takes beside options."""

    usage: str
    wrong: Message
    """The message about too few or too many."""
    least: int = 1
    most: int | None = 1


MEMORY = Operands("SIZE|RANGE|-b BLOCKRANGE", messages.ONE_OPERAND)
SIZE = Operands("SIZE", messages.ONE_SIZE)
FILE = Operands("[FILE]", messages.TOO_MANY, least=0)
NOTHING = Operands("", messages.TOO_MANY, least=0, most=0)
SETTINGS = Operands("KEY=VALUE...", messages.POLICY_OF_WHAT, most=None)


class ActionRow(NamedTuple):
    """A row of the table. Options are named without their hyphens."""

    operands: Operands
    takes: frozenset[str]
    """The options that go with it."""
    ignores: frozenset[str] = frozenset()
    """The options that it accepts and ignores, as util-linux does."""


_ALWAYS = frozenset({"sysroot", "advice"})
_CHANGE = _ALWAYS | {"dry-run", "all-or-nothing", "timeout", "json"}
_OF_BLOCKS = _CHANGE | {"retry", "verbose"}
_OF_NAMED = _OF_BLOCKS | {"blocks", "node", "device", "persistent"}
_TAKING = frozenset({"keep-free", "force"})
_MEMMAP = frozenset({"memmap-on-memory"})
_ZONE = frozenset({"zone"})
_ORDER = frozenset({"order"})

ACTIONS = {
    "enable": ActionRow(MEMORY, _OF_NAMED | _MEMMAP | _ZONE),
    "disable": ActionRow(MEMORY, _OF_NAMED | _ZONE | _TAKING | _ORDER),
    "configure": ActionRow(MEMORY, _OF_NAMED | _MEMMAP, ignores=_ZONE),
    "deconfigure": ActionRow(MEMORY, _OF_NAMED, ignores=_ZONE),
    "reconfigure": ActionRow(MEMORY, _OF_NAMED | _MEMMAP | _TAKING),
    "total": ActionRow(SIZE, _OF_BLOCKS | _MEMMAP | _ZONE | _TAKING | _ORDER | {"node"}),
    "apply": ActionRow(FILE, _OF_BLOCKS | _TAKING | {"install"}),
    "save": ActionRow(FILE, _ALWAYS),
    "undo": ActionRow(NOTHING, _OF_BLOCKS | _TAKING),
    "policy": ActionRow(SETTINGS, _CHANGE | {"persistent"}),
    "uninstall": ActionRow(NOTHING, _ALWAYS | {"dry-run"}),
}
"""The option that says what to do -> its row."""

OPTIONS = frozenset().union(*(row.takes for row in ACTIONS.values()))
"""The options that are about an action."""

CONTRADICTORY = (
    # util-linux takes --configure beside the three others that it has: the last one counts.
    tuple(name for name in ACTIONS if name != "configure"),
    tuple(name for name in ACTIONS if name not in ("enable", "disable", "deconfigure")),
    ("disable", "memmap-on-memory"),
    ("deconfigure", "memmap-on-memory"),
    ("force", "keep-free"),
)
"""Groups of options of which only one can be given."""

MEANINGLESS = (("order", "blocks"), ("verbose", "json"))
"""Pairs of options whose first one would be ignored where the second one is given."""


def clash(before: str, name: str) -> Sentence | None:
    """Why the options BEFORE and NAME, without hyphens, cannot both be given."""
    if before == name:
        return None
    if any({before, name} <= set(group) for group in CONTRADICTORY):
        return shared.CANNOT_COMBINE.of(option=f"--{before}", other=f"--{name}")
    for option, other in ((before, name), (name, before)):
        row = ACTIONS.get(other)
        refused = row and option in OPTIONS and option not in row.takes | row.ignores
        if refused or (option, other) in MEANINGLESS:
            return shared.MEANS_NOTHING.of(option=f"--{option}", other=f"--{other}")
    return None


def goes_with(before: str, name: str) -> bool:
    """Whether both options, without hyphens, have an effect if they are given."""
    if before != name and before in ACTIONS and name in ACTIONS:
        return False
    pairs = ((before, name), (name, before))
    ignored = any(other in ACTIONS and one in ACTIONS[other].ignores for one, other in pairs)
    return not ignored and clash(before, name) is None


def check(options: Options, operands: Sequence[str]) -> str:
    """The action that is asked for. Raises UsageError if the command line is wrong."""
    if options.install and (operands or options.action is None):
        raise UsageError(messages.INSTALL_WHAT.of())
    if options.action is None:
        said = messages.WHAT_TO_DO.of(actions=either(f"--{action}" for action in ACTIONS))
        words = [f"--{word}" for word in operands[:1] if word in ACTIONS]
        raise GetoptUsageError(did_you_mean(said, words))
    _check_operands(ACTIONS[options.action].operands, options, operands)
    if not options.sysroot:
        raise UsageError(messages.NO_SYSROOT.of())
    if options.action == "reconfigure" and options.memmap_on_memory is None:
        raise UsageError(messages.RECONFIGURE_WHAT.of())
    return options.action


def _check_operands(taken: Operands, options: Options, operands: Sequence[str]) -> None:
    count = len(operands)
    # All blocks of a device or a node can be meant without saying which.
    whole = taken is MEMORY and not options.blocks
    whole = whole and (options.device is not None or options.node is not None)
    least = 0 if whole else taken.least
    if least <= count and (taken.most is None or count <= taken.most):
        return
    if taken in (MEMORY, SIZE) and count == 2 and _is_unit(operands[1]):
        raise GetoptUsageError(messages.UNIT_APART.of(instead="".join(operands)))
    from memory_hotplug.layout.settings import ATTRIBUTES

    raise GetoptUsageError(
        taken.wrong.of(
            action=options.action,
            given=count or "none",
            most="at most 1" if taken.most else "no",
            keys=", ".join(ATTRIBUTES),
        )
    )


def _is_unit(word: str) -> bool:
    import re

    return re.fullmatch("[kmgtpe](i?b)?", word, re.IGNORECASE) is not None


def usages(shown: Mapping[str, str]) -> list[str]:
    """A line for the actions that take the same operands. SHOWN has how an action is written, and
    actions that are not in it are left out."""
    lines: dict[Operands, list[str]] = {}
    for name, row in ACTIONS.items():
        if name in shown:
            lines.setdefault(row.operands, []).append(shown[name])
    return [f"{'|'.join(names)} {operands.usage}".rstrip() for operands, names in lines.items()]
