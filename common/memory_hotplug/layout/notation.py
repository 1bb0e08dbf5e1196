"""A memory layout as text, in TOML or JSON; memory-layout.d(5) is its manual.

>>> from memory_hotplug.layout.notation import parse_layout
>>> layout = parse_layout('version = 1\\n[[memory]]\\nblocks = "16-31"\\nzone = "Movable"\\n', "-")
>>> layout.entries[0].condition.value, layout.entries[0].zone.value
('online', 'Movable')
"""

import json
import re
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any, TypeVar

from memory_hotplug.attribute import AUTO_ONLINE_BLOCKS, TABLE
from memory_hotplug.block import Zone
from memory_hotplug.condition import Condition
from memory_hotplug.errors import BadSizeError, LayoutError, printable
from memory_hotplug.layout.loading import cut, load_json, load_toml
from memory_hotplug.layout.model import VERSION, Entry, Layout, Missing, Policy, Where
from memory_hotplug.size import SIZE_LIMIT, parse_size

__all__ = ["format_layout", "parse_layout", "parse_policy"]

_ZONES = (Zone.DMA, Zone.DMA32, Zone.NORMAL, Zone.HIGHMEM, Zone.MOVABLE)
"""The zones in which hotplugged memory can be set online."""


def parse_layout(text: str, file: str) -> Layout:
    """The layout in TEXT, TOML or JSON. FILE is its name, for messages.

    Raises LayoutError for everything that is not as memory-layout.d(5) says.
    """
    text = text.removeprefix("\ufeff")  # a byte order mark, which some editors write
    if text.lstrip().startswith("{"):
        return _Parser(file, load_json(text, file)).layout()
    return _Parser(file, load_toml(text, file), text).layout()


def parse_policy(words: Sequence[str]) -> Policy:
    """The policy of words KEY=VALUE, as on a command line. Raises LayoutError."""
    values: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key != key.strip() or value != value.strip():
            reason = f"no space stands around the =: {key.strip()}={value.strip()}"
            raise LayoutError("policy", None, printable(reason))
        if not equals or key in values:
            reason = f"{key} is given twice" if equals else f"expected KEY=VALUE, not {cut(word)}"
            raise LayoutError("policy", None, printable(reason))
        # What is no number and no truth stays text, and is checked as such.
        values[key] = int(value) if _NUMBER.fullmatch(value) else _TRUTH.get(value.lower(), value)
    return _Parser("policy", {"version": VERSION, "policy": values}).layout().policy


_NUMBER = re.compile("[0-9]{1,18}")
_TRUTH = dict.fromkeys(("y", "yes", "true"), True) | dict.fromkeys(("n", "no", "false"), False)


class _Lines:
    """The lines of the keys of a TOML text, found by a scan: tomllib does not tell them."""

    _TABLE = re.compile(r"\s*\[\[?\s*[\"']?([\w-]+)")
    _KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]")

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, int, str], int] = {}
        """Table, its number from 1, and key ("" for the heading) -> line from 1."""
        table, count, entries = "", 0, 0
        for number, line in enumerate(text.split("\n"), 1):
            if found := self._TABLE.match(line):
                table = found[1]
                entries += table == "memory"
                count = entries if table == "memory" else 0
                self._lines.setdefault((table, count, ""), number)
            elif found := self._KEY.match(line):
                self._lines.setdefault((table, count, found[1]), number)

    def of(self, table: str, count: int, key: str) -> int | None:
        """The line of KEY, or else of its table."""
        here = ((table, count, key), (table, count, ""))
        places = (*here, ("", 0, table), (key, 1, ""), (key, 0, ""))
        return next((self._lines[place] for place in places if place in self._lines), None)


_Value = TypeVar("_Value")
_Choice = TypeVar("_Choice", bound=Enum)


class _Table:
    """A table of a file, with the lines of its keys."""

    def __init__(self, file: str, lines: _Lines | None, name: str, count: int, values: Any) -> None:
        self._file, self._lines, self._name, self._count = file, lines, name, count
        self.values: dict[str, Any] = values
        self._known: set[str] = set()
        if not isinstance(values, dict):
            raise self.error(f"{name} must be {'[[memory]]' if count else 'a table'}")

    def where(self, key: str = "") -> Where:
        return Where(
            self._file, self._lines.of(self._name, self._count, key) if self._lines else None
        )

    def error(self, reason: str, key: str = "") -> LayoutError:
        where = self.where(key)
        if where.line is None and self._count:
            reason = f"entry {self._count} of memory: {reason}"
        return LayoutError(where.file, where.line, printable(reason))

    def take(self, key: str, parse: Callable[[Any], _Value]) -> _Value | None:
        """The value of KEY, parsed; None if it is not given. PARSE raises ValueError with what is
        allowed instead, or LayoutError."""
        self._known.add(key)
        if key not in self.values:
            return None
        value = self.values[key]
        try:
            return parse(value)
        except LayoutError:
            raise
        except ValueError as error:
            shown = cut(json.dumps(value, default=str))
            raise self.error(f"{key} is {error}, not {shown}", key) from None

    def end(self) -> None:
        """Raises LayoutError for a key that was not taken."""
        for key in self.values:
            if key not in self._known:
                known = ", ".join(sorted(self._known))
                raise self.error(f"unknown key {cut(key)} (known: {known})", key)


def _integer(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError("a whole number, 0 or more")
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


_A_SIZE = 'a size as text, such as "8G"'
_SOME_SIZE = f"{_A_SIZE}, and more than 0"


def _amount(value: Any) -> int:
    try:
        if isinstance(value, str):
            return parse_size(value)
    except BadSizeError:
        pass
    raise ValueError(_A_SIZE)


def _size(value: Any) -> int:
    size = _amount(value)
    if not size:
        raise ValueError(_SOME_SIZE)
    return size


def _word(*words: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(" or ".join(f'"{word}"' for word in words))
        return str(value)

    return parse


def _choice(choices: tuple[_Choice, ...]) -> Callable[[Any], _Choice]:
    words = {choice.value: choice for choice in choices}

    def parse(value: Any) -> _Choice:
        return words[_word(*words)(value)]

    return parse


_BLOCKS = re.compile("([0-9]{1,40})(?:-([0-9]{1,40}))?")
_ADDRESSES = re.compile("0x([0-9a-fA-F]{1,40})-0x([0-9a-fA-F]{1,40})")
_BLOCK_LIMIT = 10**18


def _blocks(value: Any) -> tuple[tuple[int, int], ...]:
    return _ranges(value, _BLOCKS, 10, 'block numbers as text, such as "0-3,7"')


def _addresses(value: Any) -> tuple[tuple[int, int], ...]:
    return _ranges(value, _ADDRESSES, 16, 'addresses as text, such as "0x80000000-0xffffffff"')


def _ranges(
    value: Any, form: re.Pattern[str], base: int, allowed: str
) -> tuple[tuple[int, int], ...]:
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise ValueError(allowed)
    found = []
    for text in texts:
        match = form.fullmatch(text.strip()) if isinstance(text, str) else None
        if not match:
            raise ValueError(allowed)
        first = int(match[1], base)
        last = first if match[2] is None else int(match[2], base)
        if first > last:
            raise ValueError(f"{allowed}, with ends that ascend")
        if last >= (_BLOCK_LIMIT if base == 10 else SIZE_LIMIT):
            limit = str(_BLOCK_LIMIT) if base == 10 else f"{SIZE_LIMIT:#x}"
            raise ValueError(f"{allowed}, and below {limit}")
        found.append((first, last))
    found.sort()
    if any(one[1] >= other[0] for one, other in pairwise(found)):
        raise ValueError("ranges that do not overlap")
    return tuple(found)


class _Parser:
    """Turns a loaded file into a layout."""

    def __init__(self, file: str, loaded: dict[str, Any], text: str | None = None) -> None:
        self._file = file
        self._lines = None if text is None else _Lines(text)
        self._top = _Table(file, self._lines, "", 0, loaded)

    def layout(self) -> Layout:
        """Raises LayoutError."""
        top = self._top
        version = top.take("version", lambda value: value)
        if type(version) is not int or version != VERSION:
            found = json.dumps(top.values.get("version"), default=str)
            missing = f", not {cut(found)}" if "version" in top.values else ", and is missing"
            raise top.error(f"version must be {VERSION}{missing}", "version")
        keep_free = top.take("keep_free", _amount)
        policy = top.take("policy", self._policy) or Policy()
        entries = top.take("memory", self._entries) or ()
        top.end()
        self._contradictions(entries)
        return Layout(policy, entries, keep_free)

    def _policy(self, values: Any) -> Policy:
        table = _Table(self._file, self._lines, "policy", 0, values)
        policy = Policy(
            table.take("auto_online", _word(*TABLE[AUTO_ONLINE_BLOCKS].words)),
            table.take("online_policy", _word(*TABLE["parameters/online_policy"].words)),
            table.take("auto_movable_ratio", _integer),
            table.take("auto_movable_numa_aware", _truth),
            table.where() if values else None,
        )
        table.end()
        return policy

    def _entries(self, found: Any) -> tuple[Entry, ...]:
        if not isinstance(found, list):
            raise self._top.error("memory must be [[memory]], one for each entry", "memory")
        return tuple(self._entry(count, values) for count, values in enumerate(found, 1))

    def _entry(self, count: int, values: Any) -> Entry:
        table = _Table(self._file, self._lines, "memory", count, values)
        blocks, addresses = table.take("blocks", _blocks), table.take("range", _addresses)
        node, size = table.take("node", _integer), table.take("size", _size)
        end = table.take("from", _word("lowest", "highest"))
        condition = table.take("state", _choice(tuple(Condition)))
        zone = table.take("zone", _choice(_ZONES))
        memmap = table.take("memmap_on_memory", _truth)
        missing = table.take("missing", _choice(tuple(Missing)))
        table.end()
        if blocks and addresses:
            raise table.error("blocks and range cannot be combined", "range")
        if not (blocks or addresses or size) and node is None:
            raise table.error("which memory: blocks, range, node or size is needed")
        if end and not size:
            raise table.error("from needs size", "from")
        if zone and condition not in (None, Condition.ONLINE):
            raise table.error("only memory with state online is in a zone", "zone")
        return Entry(
            table.where(),
            blocks or (),
            addresses or (),
            node,
            size,
            end == "highest",
            condition or Condition.ONLINE,
            zone,
            memmap,
            missing or Missing.WAIT,
        )

    def _contradictions(self, entries: tuple[Entry, ...]) -> None:
        """Raises LayoutError if two sizes are given for the same thing."""
        seen: dict[object, Entry] = {}
        for entry in entries:
            if entry.size is None:
                continue
            same = (
                *(entry.blocks, entry.addresses, entry.node),
                *(entry.condition, entry.zone, entry.memmap_on_memory),
            )
            other = seen.setdefault(same, entry)
            if other is not entry:
                before = "before" if other.where.line is None else f"in line {other.where.line}"
                raise LayoutError(*entry.where, f"a size for the same memory is given {before}")


def format_layout(layout: Layout, comment: str = "") -> str:
    """The layout as TOML, with each line of COMMENT as one at its beginning."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [f"version = {VERSION}"]
    if layout.keep_free is not None:
        lines += [f'keep_free = "{_exact(layout.keep_free)}"']
    if said := layout.policy.said:
        lines += ["", "[policy]", *(f"{key} = {_shown(key, value)}" for key, value in said.items())]
    for entry in layout.entries:
        lines += ["", "[[memory]]", *_keys(entry)]
    return "\n".join(lines) + "\n"


def _keys(entry: Entry) -> list[str]:
    pairs: list[tuple[str, object]] = []
    if entry.blocks:
        pairs.append(("blocks", ",".join(_run(*ends) for ends in entry.blocks)))
    if entry.addresses:
        pairs.append(("range", ",".join(f"{one:#x}-{end:#x}" for one, end in entry.addresses)))
    pairs += [("node", entry.node), ("size", entry.size)]
    if entry.highest:
        pairs.append(("from", "highest"))
    pairs += [
        ("state", entry.condition.value),
        ("zone", entry.zone.value if entry.zone else None),
        ("memmap_on_memory", entry.memmap_on_memory),
    ]
    if entry.missing is not Missing.WAIT:
        pairs.append(("missing", entry.missing.value))
    return [f"{name} = {_shown(name, value)}" for name, value in pairs if value is not None]


def _run(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _shown(name: str, value: object) -> str:
    """A value as TOML; of these types JSON is the same."""
    return f'"{_exact(value)}"' if name == "size" and isinstance(value, int) else json.dumps(value)


def _exact(size: int) -> str:
    """The size with the largest unit that leaves no rest. parse_size reads it back."""
    if size % 1024:
        # Without a unit it would be a number of MiB.
        return f"{size >> 10}.{(size % 1024) * 10**10 >> 10:010}K"
    shift = 10
    while size and shift < 60 and size % (1 << (shift + 10)) == 0:
        shift += 10
    return f"{size >> shift}{'KMGTPE'[shift // 10 - 1]}"
