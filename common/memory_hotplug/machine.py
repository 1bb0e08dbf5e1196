"""A machine's memory: its block size, what it supports, its blocks and its totals."""

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Self

from memory_hotplug.attribute import (
    AUTO_ONLINE_BLOCKS,
    BLOCK_SIZE,
    FIRMWARE,
    NODE,
    TABLE,
    Attribute,
    attributes_named,
    block_numbers,
    parameter_path,
    path_of,
)
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.errors import (
    BrokenTreeError,
    NoBlocksError,
    NoMemoryTreeError,
    NoSuchBlockError,
    printable,
)
from memory_hotplug.ranges import MERGED_BY, BlockTable, MemoryRange, Remark
from memory_hotplug.reading import ADDRESS_LIMIT, Reading, memory_names, node_numbers, possible
from memory_hotplug.tree import FileTree, Tree, gone

__all__ = ["Machine", "open_tree"]


def open_tree(root: str) -> Tree:
    """The tree below a directory, or in an archive. Raises OSError where it is neither."""
    if os.path.isfile(root):
        from memory_hotplug.archive import ArchiveTree

        return ArchiveTree(root)
    tree = FileTree(root)
    if tree.is_this_machine:
        return tree
    from memory_hotplug.simulated import SimulatedTree, is_simulated

    if not is_simulated(root):
        return tree
    tree.close()
    return SimulatedTree(root)


class Machine:
    """The memory blocks of one machine, below the root of a tree.

    A machine holds its tree open until it is closed; `with Machine.at(...) as machine` does it.
    """

    def __init__(self, tree: Tree) -> None:
        """Raises NoMemoryTreeError where there are no memory blocks, and BrokenTreeError where
        their size cannot be known."""
        self.tree = tree
        self.block_size = self._read_block_size()
        """Bytes."""

    @classmethod
    def at(cls, root: str | os.PathLike[str] = "/") -> Self:
        """The machine whose /sys is found below ROOT: this one, a captured or a simulated one.

        ROOT may also be an archive of such a tree, which can be read only. Raises
        NoMemoryTreeError and BrokenTreeError.
        """
        path = os.fsdecode(root)
        try:
            tree = open_tree(path)
        except OSError as error:
            raise NoMemoryTreeError(path, error.strerror or str(error)) from None
        except ValueError as error:
            # A path that no file can have.
            raise NoMemoryTreeError(path, str(error)) from None
        try:
            return cls(tree)
        except BaseException:
            tree.close()
            raise

    @classmethod
    def simulated(cls, profile: str | os.PathLike[str]) -> Self:
        """A simulated machine in memory, from the name of a profile or a machine file.

        Raises BadMachineError.
        """
        from memory_hotplug.simulated import booted

        return cls(booted(profile))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the tree: nothing can be read or written afterwards."""
        self.tree.close()

    def _read_block_size(self) -> int:
        path = path_of(BLOCK_SIZE)
        try:
            text = self.tree.read(path)
        except OSError as error:
            memory_names(self.tree)
            if gone(error):
                raise BrokenTreeError("This system does not support memory blocks") from None
            raise _unreadable(path, error) from None
        size = TABLE[BLOCK_SIZE].parse(text)
        if not 0 < (size or 0) < ADDRESS_LIMIT:
            found = printable(os.fsdecode(text.strip())) or "nothing"
            raise BrokenTreeError(f"/{path} should hold the block size in hexadecimal, not {found}")
        return int(size)

    # What the machine supports

    @cached_property
    def _firmware(self) -> tuple[frozenset[int], list[Remark]]:
        """Blocks that can be configured: they are what the machine has or may get, for good.
        And what was left out of them."""
        try:
            names = self.tree.names(FIRMWARE)
        except OSError as error:
            if gone(error):
                return frozenset(), []
            raise _unreadable(FIRMWARE, error) from None
        numbers, remarks = possible(block_numbers(names), self.block_size)
        return frozenset(numbers), remarks

    @property
    def configurable(self) -> bool:
        """Whether blocks must be configured to be online (s390, /sys/firmware/memory).

        Raises BrokenTreeError where that cannot be listed.
        """
        return bool(self._firmware[0])

    def parameter(self, name: str) -> str | None:
        """A parameter of the kernel's memory_hotplug module, or None where it has none such.

        Raises UnknownNameError for a name that no kernel has, and BrokenTreeError where the
        parameter is there and cannot be read.
        """
        return self._word(parameter_path(name))

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """The machine's nodes, ascending; none on a machine without NUMA.

        Raises BrokenTreeError where they cannot be listed.
        """
        try:
            return tuple(node_numbers(self.tree.names(NODE)))
        except OSError as error:
            if gone(error):
                return ()
            raise _unreadable(NODE, error) from None

    @property
    def auto_online_blocks(self) -> str | None:
        """What becomes of a block when it is added; None where the kernel does not say.

        Raises BrokenTreeError where it is there and cannot be read.
        """
        return self._word(path_of(AUTO_ONLINE_BLOCKS))

    def _word(self, path: str) -> str | None:
        try:
            return printable(os.fsdecode(self.tree.read(path)).removesuffix("\n"))
        except OSError as error:
            if gone(error):
                return None
            raise _unreadable(path, error) from None

    # Blocks

    def read(
        self, attributes: Iterable[str] = Attribute, numbers: Iterable[int] | None = None
    ) -> BlockTable:
        """Read ATTRIBUTES, by their names, of every block or of those NUMBERS, and nothing else.

        A block that vanishes meanwhile counts as not configured where blocks can be configured,
        and is left out elsewhere. What cannot be read is unknown, and the table's remarks say
        what it was, and what was left out. Raises UnknownNameError for what is no attribute,
        NoSuchBlockError for a number that is no block, NoBlocksError where there are none at all,
        NoMemoryTreeError and BrokenTreeError where the tree cannot be listed.
        """
        named = attributes_named(attributes)
        wanted = None if numbers is None else frozenset(numbers)
        firmware, remarks = self._firmware
        table = Reading(self.tree, self.block_size, firmware, remarks).table(named, wanted)
        if not table.numbers and wanted is None:
            raise NoBlocksError(self.tree.root)
        return table

    def blocks(self, attributes: Iterable[str] = Attribute) -> Iterator[MemoryBlock]:
        """The blocks, configured or not, ascending, with those ATTRIBUTES read. Raises as `read`
        does, before the first block is asked for."""
        return self.read(attributes).blocks()

    def ranges(self, split: Iterable[str] = MERGED_BY) -> Iterator[MemoryRange]:
        """Contiguous blocks that agree in the attributes of SPLIT, merged; ascending. Nothing
        else is read of them. Raises as `read` does, before the first range is asked for."""
        split = tuple(split)
        return self.read(split).ranges(split)

    def block(self, number: int, attributes: Iterable[str] = Attribute) -> MemoryBlock:
        """One block, read now. Raises NoSuchBlockError, and as `read` does."""
        for block in self.read(attributes, [number]).blocks():
            return block
        # It vanished while it was read.
        raise NoSuchBlockError(number)

    def block_now(self, number: int) -> MemoryBlock:
        """A block that was there, as it is now: state, zones, configured and memmap_on_memory.

        This is for whoever changes it. Where memory is configured, a block without memoryN is
        offline; elsewhere it has vanished, and its state is UNKNOWN.
        """
        values: dict[str, Any] = {Attribute.CONFIGURED: None, Attribute.MEMMAP_ON_MEMORY: None}
        for name in (Attribute.STATE, Attribute.ZONES):
            row = TABLE[name]
            unread = row.absent if self.configurable else row.unreadable
            values[name] = self._value(name, number, unread)
        if number in self._firmware[0]:
            for name in (Attribute.CONFIGURED, Attribute.MEMMAP_ON_MEMORY):
                values[name] = self._value(name, number, None)
            if values[Attribute.CONFIGURED] is False:
                values |= {Attribute.STATE: State.OFFLINE, Attribute.ZONES: None}
        return MemoryBlock(number, **values)

    def _value(self, name: Attribute, number: int, missing: Any) -> Any:
        row = TABLE[name]
        try:
            return row.parse(self.tree.read(path_of(name, number)))
        except OSError as error:
            return missing if gone(error) else row.unreadable


def _unreadable(path: str, error: OSError) -> BrokenTreeError:
    return BrokenTreeError(f"cannot read /{path}: {error.strerror or error}")
