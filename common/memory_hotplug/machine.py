"""The memory of a machine: its block size, its settings and its blocks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from memory_hotplug.attribute import (
    AUTO_ONLINE_BLOCKS,
    BLOCK_SIZE,
    DLPAR,
    FIRMWARE,
    NODE,
    TABLE,
    Attribute,
    attributes_named,
    block_numbers,
    node_numbers,
    parameter_path,
    path_of,
)
from memory_hotplug.block import MemoryBlock, State
from memory_hotplug.checks import refuse, several
from memory_hotplug.errors import (
    BadBlockSizeError,
    BrokenTreeError,
    NoBlocksError,
    NoBlockSizeError,
    NoRootError,
    NoSuchBlockError,
    printable,
)
from memory_hotplug.reading import (
    ADDRESS_LIMIT,
    Reading,
    judges_removable,
    memory_names,
    possible,
)
from memory_hotplug.table import MERGED_BY, BlockTable, MemoryRange, Remark
from memory_hotplug.trees import is_simulated
from memory_hotplug.trees.files import FileTree, Tree
from memory_hotplug.trees.many import gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

__all__ = ["Machine", "open_tree"]


def open_tree(root: str) -> Tree:
    """The tree in a directory or an archive. Raises NoRootError if it is neither."""
    try:
        return _tree(root)
    except OSError as error:
        raise NoRootError(root, error) from None
    except ValueError as error:
        # No file can have this path.
        raise NoRootError(root, OSError(errno.EINVAL, str(error))) from None


def _tree(root: str) -> Tree:
    if os.path.isfile(root):
        from memory_hotplug.trees.archive import ArchiveTree

        return ArchiveTree(root)
    tree = FileTree(root)
    if tree.is_this_machine or not is_simulated(root):
        return tree
    from memory_hotplug.trees.simulated import SimulatedTree

    tree.close()
    return SimulatedTree(root)


class Machine:
    """A machine, read from a tree.

    The tree is open until the machine is closed; `with Machine.at(...) as machine` closes it.
    """

    def __init__(self, tree: Tree) -> None:
        """Raises NoMemoryTreeError if there are no memory blocks, and BrokenTreeError if their size
        cannot be read."""
        if not hasattr(tree, "read_each"):
            raise refuse("tree", "a tree that is open, as Machine.at opens one", tree)
        self.tree = tree
        self.closed = False
        """Whether nothing can be read or written any more."""
        self.block_size = self._read_block_size()
        """Bytes."""

    @classmethod
    def at(cls, root: str | os.PathLike[str] = "/") -> Self:
        """The machine whose /sys is below ROOT: this machine, a captured or a simulated one.

        ROOT may also be an archive of such a tree, which can only be read. Raises NoMemoryTreeError
        and BrokenTreeError.
        """
        try:
            path = os.fsdecode(root)
        except TypeError:
            raise refuse("root", "a path", root) from None
        tree = open_tree(path)
        try:
            return cls(tree)
        except BaseException:
            tree.close()
            raise

    @classmethod
    def simulated(
        cls,
        profile: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        memory: int | None = None,
        standby: int | None = None,
        block_size: int | None = None,
        faults: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> Self:
        """A simulated machine in memory: from the name of a profile, from a file, from a
        description as memsim(1) has it in MACHINE DESCRIPTIONS, or from sizes in bytes.

        By sizes, it has MEMORY that is online, of which an eighth is in use, and STANDBY memory,
        with which it is an s390, in blocks of BLOCK_SIZE, by default 128 MiB. FAULTS has block
        number -> transition (offline, online, config or deconfig) -> the name of the error with
        which it fails, such as ``{3: {"offline": "EBUSY"}}``; with ``{"errno": "EBUSY", "times":
        2}``, only so often.

        Raises BadMachineError, which names the key that is wrong.
        """
        from memory_hotplug.trees.simulated import booted

        sizes = {"memory": memory, "standby": standby, "block_size": block_size}
        given = {name: size for name, size in sizes.items() if size is not None}
        return cls(booted(profile, given, faults or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the tree. Nothing can be read or written afterwards."""
        self.closed = True
        self.tree.close()

    def _read_block_size(self) -> int:
        path = path_of(BLOCK_SIZE)
        try:
            text = self.tree.read(path)
        except OSError as error:
            memory_names(self.tree)
            if gone(error):
                raise NoBlockSizeError(path) from None
            raise _unreadable(path, error) from None
        size = TABLE[BLOCK_SIZE].parse(text)
        if not 0 < (size or 0) < ADDRESS_LIMIT:
            found = printable(os.fsdecode(text.strip()))
            found = f"{found[:40]}..." if len(found) > 50 else found or "nothing"
            raise BadBlockSizeError(path, found)
        return int(size)

    # What the machine supports

    @cached_property
    def _firmware(self) -> tuple[frozenset[int], list[Remark]]:
        """The blocks that can be configured, and remarks on those that were left out. They are all
        blocks that the machine has or may get, and never change."""
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
        """Whether blocks must be configured before they can be online (s390, /sys/firmware/memory).

        Raises BrokenTreeError if that directory cannot be read.
        """
        return bool(self._firmware[0])

    @property
    def has_dlpar(self) -> bool:
        """Whether drmgr adds memory to this machine and removes it, as on POWER (Linux 4.1)."""
        directory, _, name = DLPAR.rpartition("/")
        try:
            return name in self.tree.names(directory)
        except OSError:
            return False

    @cached_property
    def judges_removable(self) -> bool:
        """Whether the kernel says in `removable` which blocks can be set offline, as far as it
        knows: Linux before 5.8 does. Later it says the same of all blocks."""
        return judges_removable(self.tree) is True

    def parameter(self, name: str) -> str | None:
        """A parameter of the kernel's module memory_hotplug; None if this kernel does not have it.

        Raises UnknownNameError for a name that no kernel has, and BrokenTreeError if the parameter
        cannot be read.
        """
        return self._word(parameter_path(name))

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes of the machine, ascending; empty without NUMA. They are read each time, because
        memory that is added can bring a node.

        Raises BrokenTreeError if they cannot be listed.
        """
        try:
            return tuple(node_numbers(self.tree.names(NODE)))
        except OSError as error:
            if gone(error):
                return ()
            raise _unreadable(NODE, error) from None

    @property
    def auto_online_blocks(self) -> str | None:
        """The state that the kernel gives to added blocks; None if the kernel has no such setting.

        Raises BrokenTreeError if the setting cannot be read.
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
        """Read ATTRIBUTES, given by name, of all blocks or of the blocks NUMBERS.

        A block that disappears during the reading counts as not configured or, on a machine whose
        memory is never configured, is left out. The remarks of the table say what could not be
        read, and what was left out. Raises UnknownNameError for a name that is not an attribute,
        NoSuchBlockError for a block that the machine does not have, NoBlocksError if it has no
        blocks, and NoMemoryTreeError or BrokenTreeError if the tree cannot be listed.
        """
        named = attributes_named(attributes)
        wanted = None if numbers is None else frozenset(several("numbers", numbers))
        firmware, remarks = self._firmware
        table = Reading(self.tree, self.block_size, firmware, remarks).table(named, wanted)
        if not table.numbers and wanted is None:
            tree = self.tree
            raise NoBlocksError(tree.root, is_this_machine=tree.is_this_machine)
        return table

    def blocks(self, attributes: Iterable[str] = Attribute) -> Iterator[MemoryBlock]:
        """The blocks, configured or not, ascending, with ATTRIBUTES. Raises the errors of `read`
        when it is called, not in the iteration."""
        return self.read(attributes).blocks()

    def ranges(self, split: Iterable[str] = MERGED_BY) -> Iterator[MemoryRange]:
        """Ranges of contiguous blocks that agree in the attributes SPLIT, ascending. Only these
        attributes are read. Raises the errors of `read` when it is called, not in the iteration."""
        split = tuple(split)
        return self.read(split).ranges(split)

    def block(self, number: int, attributes: Iterable[str] = Attribute) -> MemoryBlock:
        """Read one block. Raises NoSuchBlockError and the errors of `read`."""
        for block in self.read(attributes, [number]).blocks():
            return block
        # It disappeared during the reading.
        raise NoSuchBlockError(number)

    def block_now(self, number: int) -> MemoryBlock:
        """Read state, zones, configured and memmap_on_memory of a block again, to change it.

        A block without memoryN is offline where memory can be configured. Elsewhere it has
        disappeared, and its state is UNKNOWN.
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
    return BrokenTreeError(path, error.strerror or str(error))
