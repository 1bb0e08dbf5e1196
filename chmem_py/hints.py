"""What a SIZE, RANGE or BLOCKRANGE that is refused may be meant as, and what to type instead."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from chmem_py import hint_messages
from chmem_py.command_lines import command, kept
from chmem_py.options import NONE, Options
from chmem_py.request import RequestError
from hotplug_cli import sizes
from hotplug_cli.block_names import ranges_named, some
from hotplug_cli.message import Sentence
from memory_hotplug.block import MemoryBlock, State, is_on
from memory_hotplug.errors import MemoryHotplugError
from memory_hotplug.face import Machine
from memory_hotplug.seen.in_use import usage
from memory_hotplug.trees.files import Tree

__all__ = ["advised", "signed"]


def advised(error: RequestError, text: str, machine: Machine, options: Options) -> RequestError:
    """The error about TEXT, with our advice."""
    rules = _OF_BLOCKS if options.blocks else _OF_MEMORY
    if options.action == "total":
        rules = _OF_SIZE
    found = (rule(_Mistake(text.strip(), machine, options)) for rule in rules)
    sentence = next(filter(None, found), None)
    if sentence is None and len(error.sentences) == 1:
        row = hint_messages.BLOCKS_TAKE if options.blocks else hint_messages.TAKES
        sentence = (hint_messages.TOTAL_TAKES if options.action == "total" else row).of()
    return RequestError(*error.sentences, *filter(None, [sentence]))


def signed(text: str, said: Mapping[str, str] = {}, tree: Tree | None = None) -> Sentence | None:
    """What a total with a sign is meant as, with the options SAID: so much more, or so much less.
    Without TREE only the words that take the place of it. None for any other text."""
    found = re.fullmatch(r"\s*([+\u2212-])\1*\s*([0-9][^-]*?)\s*", text)
    if found is None:
        return None
    if found[1] == "+":
        action, row = "enable", hint_messages.MORE_ONLINE
    else:
        action, row = "disable", hint_messages.LESS_ONLINE
    words = f"--{action} {shlex.quote(found[2])}{kept(said, action)}"
    return row.of(command=command(words, tree) if tree else words)


class _Mistake:
    """A text that was refused, and where."""

    def __init__(self, text: str, machine: Machine, options: Options) -> None:
        self.text, self.machine, self.options = text, machine, options

    def command(self, operand: str, *more: str) -> str:
        """The same command with another operand, and with the options MORE."""
        action = self.options.action or ""
        words = "".join(f" --{name}" for name in more) + kept(self.options.said, action, *more)
        return command(f"--{action}{words} {operand}", self.machine.tree)


_UNIT = "[kmgtpezyKMGTPEZY](?:[iI]?[bB])?"


def _fraction(mistake: _Mistake) -> Sentence | None:
    """``1,5g`` where the separator is a point, or the other way round; and ``1.5``."""
    found = re.fullmatch(rf"([0-9]+)([.,])([0-9]+)({_UNIT})?", mistake.text)
    if found is None:
        return None
    whole, typed, part, unit = found.groups()
    separator = sizes.decimal_point()
    if unit is None:
        right = typed == separator
        return hint_messages.FRACTION.of(instead=f"{whole}{typed}{part}g") if right else None
    if typed == separator:
        return None
    return hint_messages.DECIMAL_SEPARATOR.of(
        separator=separator, instead=f"{whole}{separator}{part}{unit}"
    )


def _list(mistake: _Mistake) -> Sentence | None:
    return hint_messages.NO_LIST.of() if "," in mistake.text else None


def _decimal(mistake: _Mistake) -> Sentence | None:
    """``8gb``, which is in powers of 1000."""
    meant = sizes.binary(mistake.text)
    if meant is None:
        return None
    with suppress(ValueError):
        bytes_ = sizes.parse(mistake.text, plus=True)
        return hint_messages.DECIMAL_SIZE.of(
            text=mistake.text, bytes=bytes_, binary=meant[0], instead=meant[1]
        )
    return None


def _addresses(mistake: _Mistake) -> Sentence | None:
    """``80000000-87ffffff``, and ``3-5``."""
    found = re.fullmatch("(?:0x)?([0-9a-fA-F]{1,16})-(?:0x)?([0-9a-fA-F]{1,16})", mistake.text)
    if found is None:
        return None
    range_ = f"0x{found[1]}-0x{found[2]}"
    if range_ == mistake.text:
        if int(found[1], 16) > int(found[2], 16):
            return hint_messages.END_BELOW.of()
        return None
    if re.fullmatch("[0-9]+-[0-9]+", mistake.text):
        if int(found[2], 16) < mistake.machine.block_size:
            return hint_messages.BLOCKS.of(text=mistake.text)
        return hint_messages.BLOCKS_OR_ADDRESSES.of(text=mistake.text, range=range_)
    return hint_messages.ADDRESSES.of(range=range_)


def _number(mistake: _Mistake) -> Sentence | None:
    if re.fullmatch("[0-9]+", mistake.text):
        return hint_messages.BLOCK_OR_SIZE.of(text=mistake.text)
    return None


def _space(mistake: _Mistake) -> Sentence | None:
    """``8 g``."""
    found = re.fullmatch(rf"([0-9.,]+)\s+({_UNIT})", mistake.text)
    return hint_messages.NO_SPACE.of(instead=f"{found[1]}{found[2]}") if found else None


def _name(mistake: _Mistake) -> Sentence | None:
    """``memory5``, as the directory of a block is named."""
    found = re.fullmatch("(?:/sys/.*/)?memory([0-9]+)/?", mistake.text)
    if found is None:
        return None
    return hint_messages.BLOCK_BY_NUMBER.of(command=mistake.command(found[1], "blocks"))


def _file(mistake: _Mistake) -> Sentence | None:
    if re.search(r"\.(toml|json)$", mistake.text):
        words = f"--apply {shlex.quote(mistake.text)}{kept(mistake.options.said, 'apply')}"
        return hint_messages.LAYOUT_BY_APPLY.of(command=command(words, mistake.machine.tree))
    return None


def _separator(mistake: _Mistake) -> Sentence | None:
    """``3..5``, ``3:5``, and the dashes of a text that was typeset."""
    found = re.fullmatch(
        r"((?:0x)?\w+)\s*(?:\.\.+|:|--|\s-\s|[\u2010-\u2015])\s*(\w+)", mistake.text
    )
    return hint_messages.RANGE_WITH_DASH.of(range=f"{found[1]}-{found[2]}") if found else None


def _one_end(mistake: _Mistake) -> Sentence | None:
    """``5-``."""
    return hint_messages.TWO_ENDS.of() if re.fullmatch(r"\w+-", mistake.text) else None


# All, or a part


_MEANT_BY: dict[str, tuple[str, Callable[[MemoryBlock], bool]]] = {
    "enable": ("offline", lambda block: block.state is not State.ONLINE),
    "disable": ("online", lambda block: block.state is State.ONLINE),
    "configure": ("deconfigured", lambda block: block.configured is False),
    "deconfigure": (
        "offline",
        lambda block: block.configured is True and block.state is State.OFFLINE,
    ),
    "total": ("whole", lambda block: True),
}
"""An action -> which memory it is about, and whether a block is of that memory."""


def _share(mistake: _Mistake) -> Sentence | None:
    """``all``, ``50%``: what that is."""
    options, machine, text = mistake.options, mistake.machine, mistake.text
    found = re.fullmatch(r"([0-9]{1,3}) ?%|(all|max)", text.lower())
    if found is None or options.action not in _MEANT_BY:
        return None
    percent = min(int(found[1] or 100), 100)
    if options.device is not None and percent == 100:
        return hint_messages.WHOLE_DEVICE.of(device=options.device)
    if options.device is not None:
        return None
    kind, counts = _MEANT_BY[options.action]
    with suppress(MemoryHotplugError):
        there = machine.read(("state", "configured", "zones", "nodes")).blocks()
        nodes = machine.nodes
        blocks = sum(counts(block) and _meets(block, mistake, nodes) for block in there)
        return _amount(mistake, kind, blocks * percent // 100)
    return None


def _meets(block: MemoryBlock, mistake: _Mistake, nodes: Sequence[int]) -> bool:
    """Whether a block is of the node and of the zone that are asked for, on a machine with NODES.
    One that is not configured can come into any zone."""
    zone = mistake.options.zone
    of_zone = (
        zone is None or block.configured is False or zone in {z.value for z in block.zones or ()}
    )
    return of_zone and is_on(block, mistake.options.node, nodes)


def _amount(mistake: _Mistake, kind: str, blocks: int) -> Sentence | None:
    size = mistake.machine.block_size
    if not blocks:
        return None
    said, part = sizes.exact(blocks * size), mistake.text
    keep_free = mistake.options.keep_free
    if mistake.options.action == "disable" and keep_free != NONE:
        now = usage(mistake.machine)
        possible = blocks if now is None else now.most_to_take(keep_free) // size
        if not possible:
            return hint_messages.SHARE_KEPT.of(text=part, kind=kind, size=said)
        if possible < blocks:
            can = sizes.exact(possible * size)
            return hint_messages.SHARE_IN_USE.of(
                text=part, kind=kind, size=said, possible=can, command=mistake.command(can)
            )
    return hint_messages.SHARE.of(text=part, kind=kind, size=said, command=mistake.command(said))


# With --blocks


def _hexadecimal(mistake: _Mistake) -> Sentence | None:
    """``0x10``, or addresses."""
    found = re.fullmatch("0x([0-9a-fA-F]{1,16})(?:-0x([0-9a-fA-F]{1,16}))?", mistake.text)
    if found is None:
        return None
    ends = [int(end, 16) for end in found.groups() if end is not None]
    if ends[0] >= mistake.machine.block_size:
        return hint_messages.ADDRESSES_ALONE.of(command=mistake.command(mistake.text))
    return hint_messages.DECIMAL_BLOCKS.of(text=mistake.text, numbers="-".join(map(str, ends)))


def _size(mistake: _Mistake) -> Sentence | None:
    if re.fullmatch(rf"[0-9.,]+{_UNIT}", mistake.text):
        return hint_messages.SIZE_ALONE.of(command=mistake.command(mistake.text))
    return None


def _all_blocks(mistake: _Mistake) -> Sentence | None:
    """``all``, ``*``, ``5-``: which blocks there are."""
    if not re.fullmatch(r"all|max|\*|[0-9]{1,3}%|[0-9]+-", mistake.text.lower()):
        return None
    with suppress(MemoryHotplugError):
        there = some(ranges_named(mistake.machine.read(()).numbers))
        return hint_messages.BLOCKS_HERE.of(numbers=", ".join(there))
    return None


def _descending(mistake: _Mistake) -> Sentence | None:
    found = re.fullmatch("([0-9]{1,20})-([0-9]{1,20})", mistake.text)
    if found and int(found[1]) > int(found[2]):
        return hint_messages.START_FIRST.of(range=f"{found[2]}-{found[1]}")
    return None


_Rule = Callable[[_Mistake], Sentence | None]

_OF_MEMORY: tuple[_Rule, ...] = (
    *(_fraction, _list, _share, _decimal, _addresses, _number, _space, _name, _file),
    *(_separator, _one_end),
)
_OF_SIZE: tuple[_Rule, ...] = (_fraction, _share, _decimal, _space)
_OF_BLOCKS: tuple[_Rule, ...] = (
    *(_hexadecimal, _list, _all_blocks, _descending, _size, _name, _separator),
)
"""What is looked for in this order; the first that is found is told."""
