"""One look at the memory blocks of a machine: tree -> table."""

import errno
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from memory_hotplug.attribute import (
    MEMORY,
    NODE,
    TABLE,
    Attribute,
    SysfsAttribute,
    block_numbers,
    directory_of,
    node_number,
)
from memory_hotplug.block import NUMA_NO_NODE
from memory_hotplug.errors import BrokenTreeError, NoMemoryTreeError, NoSuchBlockError
from memory_hotplug.ranges import BlockTable, Remark, RemarkKind
from memory_hotplug.tree import Tree, gone

__all__ = ["ADDRESS_LIMIT", "Reading", "memory_names", "node_numbers", "possible"]

ADDRESS_LIMIT = 1 << 64

_FEW = 16
"""Blocks that are asked for one by one rather than by a listing of all."""

_IN_MEMORY = (Attribute.STATE, Attribute.REMOVABLE, Attribute.ZONES, Attribute.PHYS_DEVICE)
"""Attributes that are read of each memoryN."""
_IN_FIRMWARE = (Attribute.CONFIGURED, Attribute.MEMMAP_ON_MEMORY)


def memory_names(tree: Tree) -> list[str]:
    """What is in the memory directory. Raises NoMemoryTreeError."""
    try:
        return tree.names(MEMORY)
    except OSError as error:
        raise NoMemoryTreeError(tree.root, error.strerror or str(error)) from None


def node_numbers(names: Iterable[str]) -> list[int]:
    """The nodes among NAMES, ascending."""
    return sorted(number for name in names if (number := node_number(name)) is not None)


def possible(numbers: set[int], block_size: int) -> tuple[set[int], list[Remark]]:
    """Those NUMBERS whose blocks end below the end of the address space, and what is to be said
    of the others."""
    limit = ADDRESS_LIMIT // block_size
    if not numbers or max(numbers) < limit:
        return numbers, []
    absurd = tuple(sorted(number for number in numbers if number >= limit))
    return numbers.difference(absurd), [Remark(RemarkKind.IMPOSSIBLE_NUMBER, absurd)]


class Reading:
    """Reads the table of a machine, once."""

    def __init__(
        self,
        tree: Tree,
        block_size: int,
        firmware: frozenset[int],
        remarks: Iterable[Remark] = (),
    ) -> None:
        """FIRMWARE are the blocks that can be configured; none where memory need not be. REMARKS
        are those on them."""
        self._tree = tree
        self._block_size = block_size
        self._firmware = firmware
        self._remarks: dict[Remark, None] = dict.fromkeys(remarks)
        """Each once, in order."""
        self._few = False

    def table(
        self, attributes: Sequence[Attribute], wanted: frozenset[int] | None = None
    ) -> BlockTable:
        """ATTRIBUTES of every block, or of those WANTED. Raises NoSuchBlockError for one of them
        that is none, and NoMemoryTreeError where the whole tree is gone."""
        present = self._found(wanted)
        texts = {name: self._texts(name, present) for name in _IN_MEMORY if name in attributes}
        vanished = self._vanished(present, texts)
        if vanished:
            kept = [number not in vanished for number in present]
            present = list(compress(present, kept))
            texts = {name: list(compress(values, kept)) for name, values in texts.items()}
        numbers = present
        if self._firmware:
            ours = self._firmware if wanted is None else self._firmware & wanted
            numbers = sorted(ours.union(present))
        columns: dict[str, list[Any]] = {
            name: _spread(self._parsed(name, present, values), present, numbers, TABLE[name].absent)
            for name, values in texts.items()
        }
        if Attribute.NODE in attributes:
            columns[Attribute.NODE] = _spread(self._nodes(present), present, numbers)
        for name in _IN_FIRMWARE:
            if name in attributes:
                columns[name] = self._firmware_column(name, numbers)
        self._settle(numbers, present, columns)
        return BlockTable(self._block_size, numbers, columns, tuple(self._remarks))

    def _remark(self, *remarks: Remark) -> None:
        self._remarks.update(dict.fromkeys(remarks))

    def _possible(self, names: Iterable[str]) -> set[int]:
        numbers, remarks = possible(block_numbers(names), self._block_size)
        self._remark(*remarks)
        return numbers

    def _present(self) -> set[int]:
        return self._possible(memory_names(self._tree))

    def _found(self, wanted: frozenset[int] | None) -> list[int]:
        """The blocks to be read that have a memoryN."""
        if wanted is None:
            return sorted(self._present())
        self._few = len(wanted) <= _FEW
        if self._few:
            found = sorted(number for number in wanted if self._is_there(number))
        else:
            found = sorted(self._present() & wanted)
        for number in sorted(wanted.difference(found, self._firmware)):
            raise NoSuchBlockError(number)
        return found

    def _texts(self, name: Attribute, numbers: Sequence[int]) -> list[bytes | OSError]:
        row = TABLE[name]
        try:
            return self._tree.read_each(row.directory, numbers, row.file)
        except OSError as error:
            reason = error.strerror or str(error)
            if row.directory == MEMORY:
                raise NoMemoryTreeError(self._tree.root, reason) from None
            raise BrokenTreeError(f"cannot list /{row.directory}: {reason}") from None

    def _vanished(
        self, present: Sequence[int], texts: dict[Attribute, list[bytes | OSError]]
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
        there = self._present()
        files = sorted(number for number in suspects & there if self._is_file(number))
        if files:
            self._remark(Remark(RemarkKind.NOT_A_DIRECTORY, tuple(files)))
        return frozenset(suspects.difference(there).union(files))

    def _names_of(self, number: int) -> list[str]:
        return self._tree.names(directory_of(Attribute.STATE, number))

    def _is_there(self, number: int) -> bool:
        try:
            self._names_of(number)
        except OSError as error:
            return not gone(error)
        return True

    def _is_file(self, number: int) -> bool:
        try:
            self._names_of(number)
        except OSError as error:
            return error.errno == errno.ENOTDIR
        return False

    def _parsed(
        self, name: Attribute, numbers: Sequence[int], texts: Sequence[bytes | OSError]
    ) -> list[Any]:
        """Each distinct text is parsed once; errors other than a missing file are remarked on."""
        row: SysfsAttribute = TABLE[name]
        distinct = set(texts)
        errors = [text for text in distinct if isinstance(text, OSError)]
        for why in sorted({_reason(error) for error in errors if not gone(error)}):
            unread = tuple(
                number
                for number, text in zip(numbers, texts, strict=True)
                if isinstance(text, OSError) and _reason(text) == why
            )
            self._remark(Remark(RemarkKind.UNREADABLE, unread, name, why))
        values: dict[bytes | OSError, Any] = dict.fromkeys(errors, row.unreadable)
        for text in distinct.difference(errors):
            values[text] = row.parse(text)  # type: ignore[arg-type]  # no error is left
        return list(map(values.__getitem__, texts))

    def _nodes(self, present: Sequence[int]) -> list[int | None]:
        """The node of each block, from one listing of each node's directory: a captured tree may
        hold the links in these or those of the blocks."""
        nodes = self._linked_from(present) if self._few else {}
        if not self._few or len(nodes) < len(present):
            for node in reversed(node_numbers(self._names_or_nothing(NODE))):
                linked = self._possible(self._names_or_nothing(f"{NODE}/node{node}"))
                nodes.update(dict.fromkeys(linked, node))
        if not self._few:
            nodes |= self._linked_from([number for number in present if number not in nodes])
        if not (nodes if self._few else any(number in nodes for number in present)):
            return [None] * len(present)
        return [nodes.get(number, NUMA_NO_NODE) for number in present]

    def _linked_from(self, numbers: Iterable[int]) -> dict[int, int]:
        """The lowest node that each of these blocks links to, where there is one."""
        nodes: dict[int, int] = {}
        for number in numbers:
            directory = directory_of(Attribute.NODE, number)
            links = node_numbers(self._names_or_nothing(directory, number))
            if links:
                nodes[number] = links[0]
        return nodes

    def _names_or_nothing(self, directory: str, *blocks: int) -> list[str]:
        """What is in a directory that tells of nodes: of all blocks, or of BLOCKS."""
        try:
            return self._tree.names(directory)
        except OSError as error:
            if not gone(error):
                remark = Remark(RemarkKind.UNREADABLE, blocks, Attribute.NODE, _reason(error))
                self._remark(remark)
            return []

    def _firmware_column(self, name: Attribute, numbers: Sequence[int]) -> list[Any]:
        known = [number for number in numbers if number in self._firmware]
        texts = self._texts(name, known) if known else []
        return _spread(self._parsed(name, known, texts), known, numbers)

    def _settle(
        self, numbers: Sequence[int], present: Sequence[int], columns: dict[str, list[Any]]
    ) -> None:
        """A block that was deconfigured while it was read is as if it had not been there."""
        if not self._firmware or Attribute.CONFIGURED not in columns:
            return
        there = frozenset(present)
        for index, number in enumerate(numbers):
            if columns[Attribute.CONFIGURED][index] is False and number in there:
                for name in (*_IN_MEMORY, Attribute.NODE):
                    if name in columns:
                        columns[name][index] = TABLE[name].absent


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


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
