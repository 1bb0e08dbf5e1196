"""Read the memory blocks of a machine from a tree into a table."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from itertools import compress

from memory_hotplug.attribute import (
    MEMORY,
    NODE,
    RELEASE,
    TABLE,
    Attribute,
    SysfsAttribute,
    block_numbers,
    directory_of,
    node_numbers,
    nodes_to_try,
)
from memory_hotplug.block import lowest_node
from memory_hotplug.errors import BrokenTreeError, NoMemoryTreeError, NoSuchBlockError
from memory_hotplug.table import BlockTable, Remark, RemarkKind, spread
from memory_hotplug.trees.files import Tree
from memory_hotplug.trees.many import Links, gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ADDRESS_LIMIT",
    "Reading",
    "judges_removable",
    "memory_names",
    "possible",
]

ADDRESS_LIMIT = 1 << 64

_FEW = 16
"""Up to this number of blocks are looked up one by one, without listing all blocks."""

_SAMPLE = 64
"""So many blocks of a large machine are looked at to know whether blocks have links to nodes."""

_IN_MEMORY = (Attribute.STATE, Attribute.REMOVABLE, Attribute.ZONES, Attribute.PHYS_DEVICE)
"""The attributes that are files in memoryN."""
_LINKS = Links(TABLE[Attribute.NODE].file)
_OF_NODES = frozenset((Attribute.NODE, Attribute.NODES))
"""Links to and from the directories of nodes."""
_IN_FIRMWARE = (Attribute.CONFIGURED, Attribute.MEMMAP_ON_MEMORY)


def memory_names(tree: Tree) -> list[str]:
    """The names in the memory directory. Raises NoMemoryTreeError."""
    try:
        return tree.names(MEMORY)
    except OSError as error:
        raise _no_memory(tree, error) from None


def _no_memory(tree: Tree, error: OSError) -> NoMemoryTreeError:
    return NoMemoryTreeError(tree.root, error, is_this_machine=tree.is_this_machine)


def possible(numbers: set[int], block_size: int) -> tuple[set[int], list[Remark]]:
    """The NUMBERS of blocks that are within the address space, and remarks on the others."""
    limit = ADDRESS_LIMIT // block_size
    if not numbers or max(numbers) < limit:
        return numbers, []
    absurd = tuple(sorted(number for number in numbers if number >= limit))
    return numbers.difference(absurd), [Remark(RemarkKind.IMPOSSIBLE_NUMBER, absurd)]


class Reading:
    """One reading of a machine's blocks."""

    def __init__(
        self,
        tree: Tree,
        block_size: int,
        firmware: frozenset[int],
        remarks: Iterable[Remark] = (),
    ) -> None:
        """FIRMWARE has the blocks that can be configured; it is empty where memory is never
        configured. REMARKS are about these blocks."""
        self._tree = tree
        self._block_size = block_size
        self._firmware = firmware
        self._remarks: dict[Remark, None] = dict.fromkeys(remarks)
        """The remarks in order, each once."""
        self._few = False

    def table(
        self, attributes: Sequence[Attribute], wanted: frozenset[int] | None = None
    ) -> BlockTable:
        """The table of ATTRIBUTES of all blocks, or of the blocks WANTED. Raises NoSuchBlockError
        if one of these does not exist, and NoMemoryTreeError if the tree has disappeared."""
        present = self._found(wanted)
        files = [name for name in _IN_MEMORY if name in attributes]
        texts, nodes = self._texts_and_nodes(files, present, attributes)
        vanished = self._vanished(present, texts, nodes)
        if vanished:
            kept = [number not in vanished for number in present]
            present = list(compress(present, kept))
            texts = {name: list(compress(values, kept)) for name, values in texts.items()}
            nodes = nodes and list(compress(nodes, kept))
        numbers = present
        if self._firmware:
            ours = self._firmware if wanted is None else self._firmware & wanted
            numbers = sorted(ours.union(present))
        columns: dict[str, list[Any]] = {
            name: spread(self._parsed(name, present, values), present, numbers, TABLE[name].absent)
            for name, values in texts.items()
        }
        if nodes is not None:
            nodes = spread(nodes, present, numbers)
            if Attribute.NODE in attributes:
                lowest = {some: lowest_node(some) for some in set(nodes)}
                columns[Attribute.NODE] = list(map(lowest.__getitem__, nodes))
            if Attribute.NODES in attributes:
                columns[Attribute.NODES] = nodes
        firmware = [name for name in _IN_FIRMWARE if name in attributes]
        columns |= self._firmware_columns(firmware, numbers)
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
        """The numbers of the blocks to read that have a memoryN."""
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

    def _texts(
        self, names: Sequence[Attribute], numbers: Sequence[int], links: Links | None = None
    ) -> dict[Attribute, list[bytes | OSError]]:
        """The texts of attributes that are in one directory, and as Attribute.NODE the names of
        LINKS, read together."""
        if not names and not links:
            return {}
        found: dict[Attribute, list[bytes | OSError]] = {}
        directory = TABLE[names[0]].directory if names else MEMORY
        try:
            if Attribute.REMOVABLE in names and _removable_is_alike(self._tree):
                file = TABLE[Attribute.REMOVABLE].file
                (first,) = self._tree.read_each(directory, numbers[:1], file) or [b""]
                if isinstance(first, bytes):
                    found[Attribute.REMOVABLE] = [first] * len(numbers)
            rest = [name for name in names if name not in found]
            files = [TABLE[name].file for name in rest]
            if links:
                rest.append(Attribute.NODE)
            texts = self._tree.read_each(directory, numbers, *files, links=links) if rest else []
        except OSError as error:
            if directory == MEMORY:
                raise _no_memory(self._tree, error) from None
            raise BrokenTreeError(directory, error.strerror or str(error)) from None
        for place, name in enumerate(rest):
            found[name] = texts[place :: len(rest)]
        return found

    def _texts_and_nodes(
        self, files: Sequence[Attribute], present: Sequence[int], attributes: Sequence[Attribute]
    ) -> tuple[dict[Attribute, list[bytes | OSError]], list[tuple[int, ...] | None] | None]:
        """The texts of FILES, and the nodes of each block, or at least the lowest one; None if they
        are not asked for. The directory of each node is listed once; a captured tree may have these
        links, or those in the blocks' directories, which are read together with the files."""
        if not _OF_NODES.intersection(attributes):
            return self._texts(files, present), None
        if _has_no_nodes(self._tree):
            return self._texts(files, present), [None] * len(present)
        known = {} if self._few else self._linked_to()
        rest = [number for number in present if number not in known] if known else present
        links = _LINKS if self._few else self._links_of(rest, attributes, told=bool(known))
        texts = self._texts(files, present, None if known else links)
        if known:
            texts |= self._texts((), rest, links)
        nodes = self._parsed(Attribute.NODE, rest, texts.pop(Attribute.NODE, []))
        if self._few and () in nodes:
            known = self._linked_to()
        if known:
            known |= {number: of for number, of in zip(rest, nodes, strict=True) if of}
            nodes = [known.get(number, ()) for number in present]
        told = any(nodes) or (self._few and known)
        return texts, [*nodes] if told else [None] * len(present)

    def _vanished(
        self,
        present: Sequence[int],
        texts: dict[Attribute, list[bytes | OSError]],
        nodes: Sequence[tuple[int, ...] | None] | None,
    ) -> frozenset[int]:
        """The numbers of blocks that were listed, but do not exist, or are not directories."""
        suspects = {
            number
            for values in texts.values()
            if any(isinstance(value, OSError) for value in set(values))
            for number, value in zip(present, values, strict=True)
            if isinstance(value, OSError) and gone(value)
        }
        if nodes is not None and () in nodes:
            # Its links may have gone after its files were read.
            suspects.update(number for number, of in zip(present, nodes, strict=True) if of == ())
        if not suspects:
            return frozenset()
        if self._few:
            there = {number for number in suspects if self._is_there(number)}
        else:
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
        """The values; each text is parsed once. An error adds a remark, a missing file does not."""
        row: SysfsAttribute = TABLE[name]
        different = set(texts)
        if any(isinstance(text, OSError) for text in different):
            self._remark_on_errors(name, numbers, texts)
        values = {
            text: row.parse(text) if isinstance(text, bytes) else row.unreadable
            for text in different
        }
        return list(map(values.__getitem__, texts))

    def _remark_on_errors(
        self, name: Attribute, numbers: Sequence[int], found: Sequence[bytes | OSError]
    ) -> None:
        errors = [error for error in set(found) if isinstance(error, OSError)]
        for why in sorted({_reason(error) for error in errors if not gone(error)}):
            unread = tuple(
                number
                for number, error in zip(numbers, found, strict=True)
                if isinstance(error, OSError) and _reason(error) == why
            )
            self._remark(Remark(RemarkKind.UNREADABLE, unread, name, why))

    def _linked_to(self) -> dict[int, tuple[int, ...]]:
        """The nodes of each block, ascending, from the directories of the nodes."""
        nodes: dict[int, tuple[int, ...]] = {}
        for node in node_numbers(self._names_or_nothing(NODE)):
            linked = self._possible(self._names_or_nothing(f"{NODE}/node{node}"))
            again = linked & nodes.keys()
            nodes |= {number: (*nodes[number], node) for number in again}
            nodes |= dict.fromkeys(linked - again, (node,))
        return nodes

    def _links_of(
        self, numbers: Sequence[int], attributes: Sequence[Attribute], *, told: bool
    ) -> Links | None:
        """What to read of these blocks; None if they have no links to nodes, unless it is TOLD that
        others have. A sample is looked at, the first and the last among them: a kernel gives links
        to all blocks, or with CONFIG_NUMA off to none."""
        spread = {*numbers[:: max(1, len(numbers) // _SAMPLE)], *numbers[-1:]}
        sample = set(self._texts((), sorted(spread), _LINKS)[Attribute.NODE])
        if not told and sample <= {b""}:
            return None
        if Attribute.NODES in attributes:
            return _LINKS
        return _LINKS._replace(enough=nodes_to_try(one for one in sample if isinstance(one, bytes)))

    def _names_or_nothing(self, directory: str) -> list[str]:
        """The names in a directory about nodes. An error adds a remark on all blocks."""
        try:
            return self._tree.names(directory)
        except OSError as error:
            if not gone(error):
                self._remark(Remark(RemarkKind.UNREADABLE, (), Attribute.NODE, _reason(error)))
            return []

    def _firmware_columns(
        self, names: Sequence[Attribute], numbers: Sequence[int]
    ) -> dict[str, list[Any]]:
        known = [number for number in numbers if number in self._firmware]
        texts = self._texts(names, known) if known else {name: [] for name in names}
        return {
            name: spread(self._parsed(name, known, values), known, numbers)
            for name, values in texts.items()
        }

    def _settle(
        self, numbers: Sequence[int], present: Sequence[int], columns: dict[str, list[Any]]
    ) -> None:
        """Treat a block that is configured or deconfigured during the reading as not configured
        throughout: `config` is 1 from after its memoryN came until after that went (sclp_mem.c)."""
        if not self._firmware or Attribute.CONFIGURED not in columns:
            return
        there = frozenset(present)
        configured = columns[Attribute.CONFIGURED]
        for index, number in enumerate(numbers):
            if configured[index] is True and number not in there:
                configured[index] = False
            elif configured[index] is False and number in there:
                for name in (*_IN_MEMORY, *_OF_NODES):
                    if name in columns:
                        columns[name][index] = TABLE[name].absent


def _removable_is_alike(tree: Tree) -> bool:
    """Whether all blocks have the same text in `removable`, so that one is enough to read.

    Since Linux 5.8 it only says whether the kernel was built with CONFIG_MEMORY_HOTREMOVE
    (drivers/base/memory.c, removable_show). Only this machine's own sysfs is trusted to be of this
    kernel.
    """
    return _is_sysfs(tree) and judges_removable(tree) is False


def _has_no_nodes(tree: Tree) -> bool:
    """Whether this is the sysfs of a kernel that was built without CONFIG_NUMA.

    Then the directory of nodes does not exist, nor does a link to one in a block (Linux builds
    drivers/base/node.c with CONFIG_NUMA only). A captured tree may have only the links.
    """
    return tree.is_this_machine and not os.path.lexists(f"/{NODE}") and _is_sysfs(tree)


def _is_sysfs(tree: Tree) -> bool:
    """Whether the kernel of this machine shows its memory here, and not, as in memsim shell,
    another file system that is mounted there."""
    return tree.is_this_machine and _device("/sys") == _device(f"/{MEMORY}")


def judges_removable(tree: Tree) -> bool | None:
    """Whether `removable` says of a block what its pages allow, as before Linux 5.8; None if the
    kernel's release is not known."""
    text = os.uname().release.encode() if tree.is_this_machine else _release(tree)
    major, _, rest = text.partition(b".")
    minor = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    known = all(number.isdigit() and len(number) <= 3 for number in (major, minor))
    return (int(major), int(minor)) < (5, 8) if known else None


def _release(tree: Tree) -> bytes:
    try:
        return tree.read(RELEASE)
    except OSError:
        return b""


def _device(path: str) -> int:
    return os.stat(path).st_dev


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
