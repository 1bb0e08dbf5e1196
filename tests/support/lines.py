"""Command lines of chmem, drawn from its own table of actions, and layouts.

An action, an option or a kind of operand that is not in the tables below is an error: none of those
that chmem has is left out.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

from chmem_py import actions
from chmem_py.actions import ACTIONS, Operands
from simulated import Condition

MIB = 1 << 20
T = TypeVar("T")


@dataclass
class Site:
    """What a command line can be about."""

    blocks: Mapping[int, Condition]
    block_size: int
    nodes: Sequence[int]
    layouts: Mapping[str, dict[str, Any]]
    """File -> the layout in it, for --apply FILE."""

    @property
    def numbers(self) -> list[int]:
        return sorted(self.blocks)

    def likely(self, action: str) -> list[int]:
        """The blocks that an action can change; all, if there are none."""
        fits = _LIKELY.get(action)
        found = [n for n in self.numbers if fits is None or fits(self.blocks[n])]
        return found or self.numbers

    @property
    def configurable(self) -> bool:
        return self.blocks[self.numbers[0]].config is not None

    def can(self, action: str) -> bool:
        """Whether an action can change a block."""
        fits = _LIKELY.get(action)
        return fits is None or any(map(fits, self.blocks.values()))


_LIKELY: dict[str, Callable[[Condition], bool]] = {
    "enable": lambda block: block.state != "online",
    "disable": lambda block: block.state == "online",
    "configure": lambda block: block.config == 0,
    "deconfigure": lambda block: block.config == 1 and block.state == "offline",
    "reconfigure": lambda block: block.config is not None,
}


@dataclass
class Line:
    """A command line of chmem, without the machine."""

    action: str
    options: dict[str, str | None] = field(default_factory=dict)
    """Option without hyphens -> its argument."""
    operands: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        given = [
            word
            for name, argument in self.options.items()
            for word in (f"--{name}", argument)
            if word is not None
        ]
        return [f"--{self.action}", *given, *self.operands]

    def __contains__(self, option: str) -> bool:
        return option in self.options

    def with_(self, *options: str, without: Sequence[str] = ()) -> "Line":
        """The same with some options more, and some less."""
        kept = {name: of for name, of in self.options.items() if name not in without}
        return Line(self.action, kept | dict.fromkeys(options), self.operands)


class Draw:
    """Draws values; the simplest one comes first."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def one_of(self, values: Sequence[T]) -> T:
        return self._data.draw(st.sampled_from(values))

    def number(self, least: int, most: int) -> int:
        return self._data.draw(st.integers(least, most))

    def chance(self, percent: int) -> bool:
        return self.number(0, 99) >= 100 - percent

    def some(self, values: Sequence[T], most: int) -> list[T]:
        if not values:
            return []
        return self._data.draw(st.lists(st.sampled_from(values), max_size=most, unique=True))


# The arguments of options


def _size(draw: Draw, site: Site, most: int = 6) -> str:
    least = 0 if draw.chance(3) else 1
    return f"{draw.number(least, most) * site.block_size // MIB}M"


def _span(draw: Draw, site: Site, action: str = "") -> str:
    numbers = site.likely(action) if draw.chance(80) else site.numbers
    first = draw.number(0, len(numbers) - 1)
    last = draw.number(first, min(first + 5, len(numbers) - 1))
    # Sometimes one more than there is.
    beyond = draw.chance(3)
    return f"{numbers[first]}-{numbers[last] + beyond}"


_ZONES = ["Movable", "Normal", "Movable", "Normal", "DMA"]
_WITHOUT = None
VALUES: dict[str, Callable[[Draw, Site], str | None]] = {
    "advice": lambda draw, site: draw.one_of(["always", "never", "auto"]),
    "all-or-nothing": lambda draw, site: _WITHOUT,
    "blocks": lambda draw, site: _WITHOUT,
    "device": lambda draw, site: draw.one_of(["PNP0C80:00", "virtio0", "dax0.0"]),
    "dry-run": lambda draw, site: _WITHOUT,
    "force": lambda draw, site: _WITHOUT,
    "install": lambda draw, site: _WITHOUT,
    "json": lambda draw, site: _WITHOUT,
    "keep-free": lambda draw, site: draw.one_of([_size(draw, site, 8), "none"]),
    "memmap-on-memory": lambda draw, site: draw.one_of(["1", "0"]),
    "node": lambda draw, site: str(draw.one_of([*site.nodes, 0])),
    "order": lambda draw, site: draw.one_of(["auto", "best", "highest"]),
    "persistent": lambda draw, site: _WITHOUT,
    "retry": lambda draw, site: draw.one_of(["0", "1"]),
    "sysroot": lambda draw, site: "m",
    "timeout": lambda draw, site: "20",
    "verbose": lambda draw, site: _WITHOUT,
    "zone": lambda draw, site: draw.one_of(_ZONES),
}
"""Option -> what draws its argument."""

_RARE = {"device", "node", "dry-run", "timeout", "retry", "advice", "order", "install"}
_CONFIGURABLE = ("memmap-on-memory",)
_ALWAYS = {"reconfigure": ("memmap-on-memory",)}
"""What an action cannot be without."""


def _memory(draw: Draw, site: Site, line: Line) -> list[str]:
    if "device" in line and draw.chance(50):
        return []
    if "blocks" in line:
        return [_span(draw, site, line.action)]
    if draw.chance(15):
        first, last = (int(end) for end in _span(draw, site, line.action).split("-"))
        size = site.block_size
        return [f"{first * size:#x}-{(last + 1) * size - 1:#x}"]
    return [_size(draw, site)]


def _total(draw: Draw, site: Site, line: Line) -> list[str]:
    return [_size(draw, site, min(len(site.numbers) + 1, 20))]


def _file(draw: Draw, site: Site, line: Line) -> list[str]:
    if line.action == "save":
        return draw.one_of([["saved.toml"], []])
    if not site.layouts or "install" in line:
        return []
    return [draw.one_of(sorted(site.layouts))] if draw.chance(75) else []


def _settings(draw: Draw, site: Site, line: Line) -> list[str]:
    return [f"{key}={_word(value)}" for key, value in policy(draw).items()]


OPERANDS: dict[Operands, Callable[[Draw, Site, Line], list[str]]] = {
    actions.MEMORY: _memory,
    actions.SIZE: _total,
    actions.FILE: _file,
    actions.NOTHING: lambda draw, site, line: [],
    actions.SETTINGS: _settings,
}

COMMON = ("enable", "disable", "configure", "deconfigure", "reconfigure", "apply", "total")
"""What is drawn more often than the other actions."""


def line(draw: Draw, site: Site, action: str | None = None) -> Line:
    """A command line of an action, of any if none is given."""
    if action is None:
        known = [*ACTIONS, *COMMON, *COMMON]
        action = draw.one_of([name for name in known if site.can(name)] or known)
        action = draw.one_of(list(ACTIONS)) if draw.chance(3) else action
    row = ACTIONS[action]
    found = Line(action)
    taken = sorted(row.takes - {"sysroot"})
    fixed = {"json", "blocks", *_RARE, *(() if site.configurable else _CONFIGURABLE)}
    likely = [name for name in taken if name not in fixed]
    wanted = [*_ALWAYS.get(action, ()), *draw.some(likely, 3)]
    if draw.chance(15):
        wanted += draw.some([name for name in taken if name in _RARE], 1)
    wanted += ["blocks"] if "blocks" in taken and draw.chance(60) else []
    wanted += ["json"] if "json" in taken and draw.chance(70) else []
    for name in wanted:
        fits = not any(actions.clash(before, name) for before in (action, *found.options))
        if name not in found and fits:
            found.options[name] = VALUES[name](draw, site)
    found.operands = OPERANDS[row.operands](draw, site, found)
    return found


# Layouts


def _word(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def policy(draw: Draw) -> dict[str, Any]:
    """Keys of a policy, at least one."""
    found: dict[str, Any] = {}
    if draw.chance(70):
        words = ["offline", "online", "online_movable", "online_kernel"]
        found["auto_online"] = draw.one_of(words)
    if not found or draw.chance(20):
        found["auto_movable_ratio"] = draw.one_of([301, 100, 20, 1000])
    if draw.chance(10):
        found["online_policy"] = draw.one_of(["contig-zones", "auto-movable"])
    if draw.chance(10):
        found["auto_movable_numa_aware"] = draw.one_of([True, False])
    return found


def layout(draw: Draw, site: Site) -> dict[str, Any]:
    """A layout, as its document."""
    found: dict[str, Any] = {"version": 1}
    if draw.chance(30):
        found["keep_free"] = _size(draw, site, 8)
    if draw.chance(10):
        found["policy"] = policy(draw)
    found["memory"] = [_entry(draw, site) for _ in range(draw.number(1, 3))]
    return found


def _entry(draw: Draw, site: Site) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kind = draw.one_of(["blocks", "size", "blocks", "size", "node", "range", "size of"])
    if kind in ("blocks", "size of"):
        found["blocks"] = _span(draw, site)
    if kind == "range":
        first, last = (int(end) for end in _span(draw, site).split("-"))
        size = site.block_size
        found["range"] = f"{first * size:#x}-{(last + 1) * size - 1:#x}"
    if kind == "node":
        found["node"] = draw.one_of(site.nodes or [0])
    if kind in ("size", "size of"):
        found["size"] = f"{draw.number(1, 8) * site.block_size // MIB}M"
        if draw.chance(30):
            found["from"] = draw.one_of(["highest", "lowest"])
    configurable = site.configurable or draw.chance(3)
    if draw.chance(35):
        states = ["offline", "deconfigured", "online"]
        found["state"] = draw.one_of(states if configurable else ["offline"])
    if found.get("state", "online") == "online" and draw.chance(50):
        found["zone"] = draw.one_of(_ZONES)
    if configurable and draw.chance(25):
        found["memmap_on_memory"] = draw.one_of([True, False])
    if draw.chance(15):
        found["missing"] = draw.one_of(["ignore", "wait", "error"])
    return found


def text_of(document: Mapping[str, Any]) -> str:
    """The text of a layout in TOML."""
    rest = {key: value for key, value in document.items() if key not in ("policy", "memory")}
    parts = ["".join(_pairs(rest))]
    if "policy" in document:
        parts.append("[policy]\n" + "".join(_pairs(document["policy"])))
    parts += ["[[memory]]\n" + "".join(_pairs(entry)) for entry in document["memory"]]
    return "".join(parts)


def _pairs(values: Mapping[str, Any]) -> list[str]:
    # Text, numbers, true and false are the same in JSON.
    return [f"{key} = {json.dumps(value)}\n" for key, value in values.items()]
