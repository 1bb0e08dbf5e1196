"""A machine's memory: its block size, what it supports, its blocks and its totals."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import compress
from typing import Any

from memory_hotplug.attribute import (
    AUTO_ONLINE_BLOCKS,
    BLOCK_SIZE,
    FIRMWARE,
    MEMORY,
    NODE,
    PARAMETERS,
    TABLE,
    SysfsAttribute,
    block_numbers,
    directory_of,
    node_number,
    parameter_path,
    path_of,
)
from memory_hotplug.block import NUMA_NO_NODE, MemoryBlock, State
from memory_hotplug.errors import BrokenTreeError, NoMemoryTreeError, NoSuchBlockError, printable
from memory_hotplug.ranges import ATTRIBUTES, BlockTable, MemoryRange
from memory_hotplug.tree import KernelTree, Tree, gone, tree_at

__all__ = [
    "ADDRESS_LIMIT",
    "FIRMWARE",
    "MEMORY",
    "MERGED_BY",
    "NODE",
    "PARAMETERS",
    "Machine",
]

ADDRESS_LIMIT = 1 << 64

MERGED_BY = ("state", "removable", "node", "zones", "configured", "memmap_on_memory")
"""What ranges are split by unless a caller says otherwise. The physical device is left out: on
s390 every block has one of its own."""

_IN_MEMORY = {name: TABLE[name] for name in ("state", "removable", "zones", "phys_device")}
_IN_FIRMWARE = {name: TABLE[name] for name in ("configured", "memmap_on_memory")}


class Machine:
    """The memory blocks of one machine, below the root of a tree."""

    def __init__(self, tree: Tree) -> None:
        """Raises NoMemoryTreeError where there are no memory blocks, and BrokenTreeError where
        their size cannot be known."""
        self.tree = tree
        self.remarks: list[str] = []
        """Sentences on what the last reading left out or could not know."""
        self.block_size = self._read_block_size()
        """Bytes."""

    @classmethod
    def at(cls, root: str | os.PathLike[str] = "/") -> "Machine":
        """The machine whose /sys is found below ROOT: this one, a captured or a simulated one.

        ROOT may also be an archive of such a tree, which can be read only.
        """
        path = os.fspath(root)
        try:
            return cls(tree_at(path))
        except OSError as error:
            raise NoMemoryTreeError(path, error.strerror or str(error)) from None

    @classmethod
    def simulated(cls, profile: str | os.PathLike[str]) -> "Machine":
        """A simulated machine in memory, from the name of a profile or a machine file."""
        from memsim.profile import boot

        return cls(KernelTree(boot(profile)))

    def _read_block_size(self) -> int:
        path = path_of(BLOCK_SIZE)
        try:
            text = self.tree.read(path)
        except OSError as error:
            self._names_of_memory()
            if gone(error):
                raise BrokenTreeError("This system does not support memory blocks") from None
            raise BrokenTreeError(f"cannot read /{path}: {error.strerror}") from None
        size = TABLE[BLOCK_SIZE].parse(text)
        if not 0 < (size or 0) < ADDRESS_LIMIT:
            found = printable(os.fsdecode(text.strip())) or "nothing"
            raise BrokenTreeError(f"/{path} should hold the block size in hexadecimal, not {found}")
        return int(size)

    def _names_of_memory(self) -> list[str]:
        try:
            return self.tree.names(MEMORY)
        except OSError as error:
            raise NoMemoryTreeError(self.tree.root, error.strerror or str(error)) from None

    # What the machine supports

    @cached_property
    def _firmware_numbers(self) -> frozenset[int]:
        """Blocks that can be configured; they are what the machine has or may get, for good."""
        try:
            return frozenset(self._numbers(self.tree.names(FIRMWARE)))
        except OSError:
            return frozenset()

    @property
    def configurable(self) -> bool:
        """Whether blocks must be configured to be online (s390, /sys/firmware/memory)."""
        return bool(self._firmware_numbers)

    def parameter(self, name: str) -> str | None:
        """A parameter of the kernel's memory_hotplug module, or None where it has none such."""
        return self._word(parameter_path(name))

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """The machine's nodes, ascending; none on a machine without NUMA."""
        return tuple(sorted(_node_numbers(self._names_or_nothing(NODE))))

    @property
    def auto_online_blocks(self) -> str | None:
        """What becomes of a block when it is added; None where the kernel does not say."""
        return self._word(path_of(AUTO_ONLINE_BLOCKS))

    def _word(self, path: str) -> str | None:
        try:
            return printable(os.fsdecode(self.tree.read(path)).removesuffix("\n"))
        except OSError:
            return None

    # Blocks

    def blocks(self, attributes: Collection[str] = ATTRIBUTES) -> Iterator[MemoryBlock]:
        """The blocks, configured or not, ascending, with those ATTRIBUTES read."""
        return self.read(attributes).blocks()

    def block(self, number: int) -> MemoryBlock:
        """One block: what can change of it, read now. Raises NoSuchBlockError."""
        if number not in self._firmware_numbers:
            try:
                self.tree.names(f"{MEMORY}/memory{number}")
            except OSError:
                raise NoSuchBlockError(number) from None
        return self.block_now(number)

    def block_now(self, number: int) -> MemoryBlock:
        """A block that was there, as it is now: what can change of it.

        Where memory is configured, a block without memoryN is offline; elsewhere it has vanished,
        and its state is UNKNOWN.
        """
        values: dict[str, Any] = {"configured": None, "memmap_on_memory": None}
        for name in ("state", "zones"):
            attribute = _IN_MEMORY[name]
            unread = attribute.absent if self.configurable else attribute.unreadable
            values[name] = self._value(directory_of(name, number), attribute, unread)
        if number in self._firmware_numbers:
            for name, attribute in _IN_FIRMWARE.items():
                values[name] = self._value(directory_of(name, number), attribute, None)
            if values["configured"] is False:
                values.update(state=State.OFFLINE, zones=None)
        return MemoryBlock(number, **values)

    def _value(self, directory: str, attribute: SysfsAttribute, unread: Any) -> Any:
        try:
            return attribute.parse(self.tree.read(f"{directory}/{attribute.file}"))
        except OSError as error:
            return unread if gone(error) else attribute.unreadable

    def ranges(self, split: Collection[str] = MERGED_BY) -> Iterator[MemoryRange]:
        """Contiguous blocks that agree in the attributes of SPLIT, merged; ascending."""
        return self.read(ATTRIBUTES).ranges(split)

    def read(self, attributes: Collection[str]) -> BlockTable:
        """Read ATTRIBUTES of every block, and nothing else.

        A block that vanishes meanwhile counts as not configured where blocks can be configured,
        and is left out elsewhere. What cannot be read is unknown, and ``remarks`` says what was
        left out. Raises NoMemoryTreeError where the whole tree is gone.
        """
        self.remarks = []
        present = sorted(self._numbers(self._names_of_memory()))
        texts = {
            name: self.tree.read_each(MEMORY, present, attribute.file)
            for name, attribute in _IN_MEMORY.items()
            if name in attributes
        }
        vanished = self._vanished(present, texts)
        if vanished:
            kept = [number not in vanished for number in present]
            present = list(compress(present, kept))
            texts = {name: list(compress(values, kept)) for name, values in texts.items()}
        numbers = present
        if self.configurable:
            numbers = sorted(self._firmware_numbers.union(present))
        columns = {
            name: _spread(
                self._parsed(name, _IN_MEMORY[name], present, values),
                present,
                numbers,
                _IN_MEMORY[name].absent,
            )
            for name, values in texts.items()
        }
        if "node" in attributes:
            columns["node"] = _spread(self._nodes(present), present, numbers)
        for name, attribute in _IN_FIRMWARE.items():
            if name in attributes:
                columns[name] = self._firmware_column(name, attribute, numbers)
        self._settle(numbers, present, columns)
        return BlockTable(self.block_size, numbers, columns)

    def _numbers(self, names: Iterable[str]) -> set[int]:
        """The blocks that are named; each block ends below the end of the address space."""
        numbers = block_numbers(names)
        limit = ADDRESS_LIMIT // self.block_size
        if numbers and max(numbers) >= limit:
            absurd = {number for number in numbers if number >= limit}
            numbers -= absurd
            self._remark(f"{_named(absurd)} left out: no memory block has such a number")
        return numbers

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def _vanished(
        self, present: Sequence[int], texts: dict[str, list[bytes | OSError]]
    ) -> frozenset[int]:
        """Blocks that were listed, but are not there, or are no directories."""
        suspects = {
            number
            for values in texts.values()
            if any(isinstance(value, OSError) for value in set(values))
            for number, value in zip(present, values, strict=True)
            if isinstance(value, OSError) and gone(value)
        }
        if not suspects:
            return frozenset()
        there = self._numbers(self._names_of_memory())
        files = {number for number in suspects & there if not self._is_directory(number)}
        if files:
            self._remark(f"{_named(files)} left out: not a directory")
        return frozenset(suspects - there | files)

    def _is_directory(self, number: int) -> bool:
        try:
            self.tree.names(f"{MEMORY}/memory{number}")
        except NotADirectoryError:
            return False
        except OSError:
            pass
        return True

    def _parsed(
        self,
        name: str,
        attribute: SysfsAttribute,
        numbers: Sequence[int],
        texts: Sequence[bytes | OSError],
    ) -> list[Any]:
        """Each distinct text is parsed once; errors other than a missing file are remarked on."""
        distinct = set(texts)
        errors = [text for text in distinct if isinstance(text, OSError)]
        for why in dict.fromkeys(error.strerror for error in errors if not gone(error)):
            unread = [
                number
                for number, text in zip(numbers, texts, strict=True)
                if isinstance(text, OSError) and text.strerror == why
            ]
            self._remark(f"{name} of {_named(unread)} not known: {attribute.file}: {why}")
        values: dict[bytes | OSError, Any] = dict.fromkeys(errors, attribute.unreadable)
        for text in distinct.difference(errors):
            values[text] = attribute.parse(text)  # type: ignore[arg-type]  # no error is left
        return list(map(values.__getitem__, texts))

    def _nodes(self, present: Sequence[int]) -> list[int | None]:
        """The node of each block, from one listing of each node's directory."""
        nodes: dict[int, int] = {}
        for node in sorted(_node_numbers(self._names_or_nothing(NODE)), reverse=True):
            linked = self._numbers(self._names_or_nothing(f"{NODE}/node{node}"))
            nodes.update(dict.fromkeys(linked, node))
        # A captured tree may hold the blocks' own links only.
        for number in present:
            if number not in nodes:
                links = _node_numbers(self._names_or_nothing(f"{MEMORY}/memory{number}"))
                nodes[number] = min(links, default=NUMA_NO_NODE)
        if all(nodes[number] == NUMA_NO_NODE for number in present):
            return [None] * len(present)
        return [nodes[number] for number in present]

    def _names_or_nothing(self, directory: str) -> list[str]:
        try:
            return self.tree.names(directory)
        except OSError:
            return []

    def _firmware_column(
        self, name: str, attribute: SysfsAttribute, numbers: Sequence[int]
    ) -> list[Any]:
        known = [number for number in numbers if number in self._firmware_numbers]
        texts = self.tree.read_each(FIRMWARE, known, attribute.file) if known else []
        return _spread(self._parsed(name, attribute, known, texts), known, numbers)

    def _settle(
        self, numbers: Sequence[int], present: Sequence[int], columns: dict[str, list[Any]]
    ) -> None:
        """A block that was deconfigured while it was read is as if it had not been there."""
        if not self.configurable or "configured" not in columns:
            return
        there = frozenset(present)
        for index, number in enumerate(numbers):
            if columns["configured"][index] is False and number in there:
                for name, attribute in _IN_MEMORY.items():
                    if name in columns:
                        columns[name][index] = attribute.absent
                if "node" in columns:
                    columns["node"][index] = None


def _spread(
    values: list[Any], known: Sequence[int], numbers: Sequence[int], absent: Any = None
) -> list[Any]:
    """One value for each of NUMBERS: those of the KNOWN ones, ABSENT for the others.

    Both sequences of block numbers ascend, and KNOWN is a part of NUMBERS.
    """
    if len(known) == len(numbers):
        return values
    value = dict(zip(known, values, strict=True))
    return [value.get(number, absent) for number in numbers]


def _named(numbers: Collection[int]) -> str:
    """The blocks in a sentence, of many the first only."""
    first = f"memory{min(numbers)}"
    return f"{first} and {len(numbers) - 1} more are" if len(numbers) > 1 else f"{first} is"


def _node_numbers(names: Iterable[str]) -> Iterator[int]:
    return (number for number in map(node_number, names) if number is not None)
