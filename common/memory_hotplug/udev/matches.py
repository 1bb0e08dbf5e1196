"""Whether a match of a udev rule holds for a block that was added: yes, no, or not known (None)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from memory_hotplug.udev.facts import NOTHING, Facts, Values
from memory_hotplug.udev.patterns import match_numbers, match_text
from memory_hotplug.udev.syntax import Token, TokenKind
from memory_hotplug.udev.world import World, limited

if TYPE_CHECKING:
    from memory_hotplug.udev.facts import AttributeValues

__all__ = ["Event", "expanded", "holds", "parents_hold", "place_of", "stable"]

_DEVICES = "/devices/system/memory"
_OF_BLOCK = frozenset(
    (*("state", "online", "removable", "valid_zones", "phys_index", "phys_device", "uevent"),)
)
"""The attributes that each block has (drivers/base/memory.c)."""
_OF_ALL_MEMORY = frozenset(
    (
        *("auto_online_blocks", "block_size_bytes", "crash_hotplug", "probe"),
        *("soft_offline_page", "hard_offline_page", "uevent"),
    )
)
"""The attributes that memory as a whole may have."""
_ALSO_THERE = frozenset((*("power", "subsystem", "power/control", "power/runtime_status"),))


class Event(NamedTuple):
    """What udev hears of: a block, and what became of it."""

    action: str
    """add, online or offline."""
    number: int | None
    """The block; None for one of any number."""
    facts: Facts
    elsewhere: bool = False
    """Whether it is an event of any other device, of which nothing else is known."""


def holds(token: Token, world: World, event: Event) -> bool | None:
    """Whether a match holds; not those that run something, and not those of parents."""
    kind = token.kind
    if event.elsewhere and kind not in (TokenKind.CONST, TokenKind.RESULT):
        start = {
            TokenKind.SUBSYSTEM: "memory",
            TokenKind.KERNEL: "memory",
            TokenKind.DEVPATH: _DEVICES,
        }.get(kind)
        if start and re.match(rf"{start}[^|]*\Z", token.value):
            return not token.equal
        return None
    if kind in (TokenKind.KERNEL, TokenKind.DEVPATH):
        return _of_numbers(
            token, "memory" if kind is TokenKind.KERNEL else f"{_DEVICES}/memory", event
        )
    if kind is TokenKind.TAG:
        return _tag(token, world)
    if kind is TokenKind.TEST:
        return _test(token, world, event)
    if kind is TokenKind.ATTR:
        value = _attribute(token.name, world, event)
        if value is False:
            # An attribute that is not there matches nothing, and is not unequal to anything.
            return False
        if value is not None and not token.value[-1:].isspace():
            value = frozenset(one.rstrip() for one in value)
        return _among(token, value)
    return _among(token, _values(token, world, event))


def _values(token: Token, world: World, event: Event) -> Values:
    """What is compared with the value of a token."""
    match token.kind:
        case TokenKind.ACTION:
            return frozenset({event.action})
        case TokenKind.SUBSYSTEM:
            return frozenset({"memory"})
        case TokenKind.SYMLINK | TokenKind.NAME | TokenKind.DRIVER:
            return NOTHING
        case TokenKind.ENV:
            return _variable(token.name, world, event)
        case TokenKind.CONST:
            return {"arch": event.facts.arch, "virt": event.facts.virt}.get(token.name)
        case TokenKind.RESULT:
            return world.result
    return None


def _among(token: Token, values: Values) -> bool | None:
    """Whether one of these values matches; None if some do and some do not."""
    if values is None:
        return None
    found = {_matches(token, value) for value in values}
    return found.pop() is token.equal if len(found) == 1 else None


def _matches(token: Token, text: str) -> bool:
    if token.kind is TokenKind.SUBSYSTEM and token.value in ("subsystem", "bus", "class"):
        return text in ("subsystem", "bus", "class")
    return match_text(text, token.value, token.fold)


def _of_numbers(token: Token, prefix: str, event: Event) -> bool | None:
    if event.number is not None:
        return _among(token, frozenset({f"{prefix}{event.number}"}))
    found = match_numbers(prefix, token.value, token.fold)
    return (True in found) is token.equal if len(found) == 1 else None


def _variable(name: str, world: World, event: Event) -> Values:
    if name not in world.variables:
        if name in ("ACTION", "SUBSYSTEM"):
            return frozenset({event.action if name == "ACTION" else "memory"})
        if name == "DEVPATH":
            return _named(_DEVICES + "/", event)
        if name in ("SEQNUM", "SYNTH_UUID", "USEC_INITIALIZED", "TAGS", "CURRENT_TAGS"):
            return None
    return world.variable(name)


def _named(above: str, event: Event) -> Values:
    return None if event.number is None else frozenset({f"{above}memory{event.number}"})


def _tag(token: Token, world: World) -> bool | None:
    """A tag that matches is enough for ==, and too much for !=."""
    here = [tag for tag, so in world.tags.items() if so]
    if any(match_text(tag, token.value, token.fold) for tag in here):
        return token.equal
    unknown = world.other_tags is None and world.tags.get(token.value) is not False
    return None if unknown else not token.equal


# Attributes


def _attribute(name: str, world: World, event: Event) -> AttributeValues:
    """The values of an attribute, as a match reads it; False if there is none."""
    if name.startswith("["):
        subsystem, kernel, below = _device(name)
        if subsystem == "memory" and kernel.startswith("memory"):
            return None
        return event.facts.of_device(subsystem, kernel, below)
    if "$" in name or "%" in name:
        names = expanded(name, world, event)
        if names is None or len(names) != 1:
            return None
        name = min(names)
    name = posixpath.normpath(name)
    if name.startswith("../"):
        below = name.removeprefix("../")
        return event.facts.of_memory(below) if "/" not in below else None
    if name not in world.cache:
        value = _read(name, world, event)
        if value is False:
            return False
        world.keep(name, value)
        return value
    return world.cache[name]


def _device(name: str) -> tuple[str, str, str]:
    """[subsystem/kernel]attribute in its parts; empty ones if it is none."""
    found = re.fullmatch(r"\[([^/\]]*)/([^\]]*)\]/?(.*)", name, re.DOTALL)
    return (found[1], found[2], found[3]) if found else ("", "", "")


def _read(name: str, world: World, event: Event) -> AttributeValues:
    if name == "state":
        return None if world.touched else frozenset({"online" if world.online else "offline"})
    if name == "online":
        return None if world.touched else frozenset({"1" if world.online else "0"})
    if name in _OF_BLOCK or "/" in name or re.match("node[0-9]", name):
        return None
    return None if name in event.facts.has_block_attributes else False


def parents_hold(tokens: list[Token], world: World, event: Event) -> bool | None:
    """Whether all these tokens match one device: the block, or that of all memory above it."""
    found = [_all(holds(_for_block(token), world, event) for token in tokens)]
    found.append(_all(_of_memory(token, event) for token in tokens))
    return True if True in found else None if None in found else False


def _all(found: Iterable[bool | None]) -> bool | None:
    unknown = False
    for one in found:
        if one is False:
            return False
        unknown = unknown or one is None
    return None if unknown else True


_BLOCK_KINDS = {
    TokenKind.KERNELS: TokenKind.KERNEL,
    TokenKind.SUBSYSTEMS: TokenKind.SUBSYSTEM,
    TokenKind.DRIVERS: TokenKind.DRIVER,
    TokenKind.ATTRS: TokenKind.ATTR,
    TokenKind.TAGS: TokenKind.TAG,
}


def _for_block(token: Token) -> Token:
    kind = _BLOCK_KINDS[token.kind]
    return Token(kind, token.name, token.operator, token.value, token.fold, token.text)


def _of_memory(token: Token, event: Event) -> bool | None:
    """Whether a token matches /sys/devices/system/memory, which has no subsystem and no driver."""
    if token.kind is TokenKind.ATTRS:
        if re.search(r"[\[$%/]", token.name):
            return None
        value = event.facts.of_memory(token.name) if token.name in _OF_ALL_MEMORY else False
        if value is False:
            return False
        return _among(_for_block(token), value)
    if token.kind is TokenKind.TAGS:
        return None
    return _among(
        _for_block(token), frozenset({"memory"}) if token.kind is TokenKind.KERNELS else NOTHING
    )


def _test(token: Token, world: World, event: Event) -> bool | None:
    names = expanded(token.value, world, event)
    if names is None or len(names) != 1 or token.name:
        return None
    path = min(names)
    if path.startswith("["):
        subsystem, kernel, below = _device(path)
        found = event.facts.of_device(subsystem, kernel, below) if below else None
        there = None if found in (None, NOTHING) else found is not False
    elif path.startswith("/"):
        there = event.facts.exists(posixpath.normpath(path))
    else:
        there = _has(posixpath.normpath(path), event)
    return None if there is None else there is token.equal


def _has(name: str, event: Event) -> bool | None:
    """Whether a file or a directory is in that of the block."""
    if name in _OF_BLOCK or name in _ALSO_THERE:
        return True
    if name.startswith("../") and not name.startswith("../../") and "*" not in name:
        return event.facts.exists(f"/sys{_DEVICES}/{name.removeprefix('../')}")
    if "/" in name or name.startswith(("node", ".")) or name in event.facts.has_block_attributes:
        return None
    return False


def stable(token: Token, event: Event) -> str:
    """A name for a match that has one answer for all of an event, with == and !=; "" for others."""
    constant = token.kind in (TokenKind.CONST, TokenKind.KERNEL, TokenKind.DEVPATH)
    if token.kind is TokenKind.ATTR:
        constant = token.name.startswith("[") and "memory" not in token.name
    if not constant:
        return ""
    operator = token.operator if token.kind is TokenKind.ATTR else ""
    return f"{token.kind:d} {token.name} {operator} {token.fold} {token.value}"


# Substitution

_NAMES = (
    *("devnode", "tempnode", "attr", "sysfs", "env", "kernel", "number", "driver", "devpath", "id"),
    *("major", "minor", "result", "parent", "name", "links", "root", "sys"),
)
_LETTERS = dict(zip("NsEknpbMmcPDLrSd", (
    *("devnode", "attr", "env", "kernel", "number", "devpath", "id", "major", "minor", "result"),
    *("parent", "name", "links", "root", "sys", "driver"),
), strict=True))  # fmt: skip
_FORMAT = re.compile(
    rf"\$\$|%%|(?:\$({'|'.join(_NAMES)})|%([{''.join(_LETTERS)}]))(?:\{{([^}}]*)\}})?"
)


def expanded(value: str, world: World, event: Event) -> Values:
    """The texts that a value may become when udev has put in what $ and % stand for."""
    parts: list[Values] = []
    at = 0
    for found in _FORMAT.finditer(value):
        parts.append(frozenset({value[at : found.start()]}))
        at = found.end()
        name = found[1] or _LETTERS.get(found[2] or "", "")
        parts.append(_part(name, found[3], world, event) if name else frozenset({found[0][0]}))
    parts.append(frozenset({value[at:]}))
    size = 1
    known: list[frozenset[str]] = []
    for part in parts:
        if part is None or (size := size * len(part)) > 4096:
            return None
        known.append(part)
    return limited("".join(texts) for texts in product(*known))


def _part(name: str, inside: str | None, world: World, event: Event) -> Values:
    match name:
        case "kernel" | "name":
            return _named("", event)
        case "number":
            return None if event.number is None else frozenset({str(event.number)})
        case "devpath":
            return _named(f"{_DEVICES}/", event)
        case "env":
            return _variable(inside, world, event) if inside else None
        case "result":
            return world.result if inside is None else None
        case "attr" | "sysfs":
            if not inside:
                return None
            value = _attribute(inside, world, event)
            if value is False:
                return NOTHING
            return None if value is None else frozenset(one.rstrip() for one in value)
        case "root" | "sys":
            return frozenset({"/dev" if name == "root" else "/sys"})
        case "major" | "minor":
            return frozenset({"0"})
        case "id" | "driver":
            return None
    return NOTHING


def place_of(name: str) -> str | None:
    """Which attribute of a block an assignment to NAME is for: its name for the block of the event;
    ``*name`` for one that may be another; None for no block's."""
    subsystem, kernel, below = _device(name)
    if subsystem:
        found = subsystem == "memory" and kernel.startswith("memory")
        return f"*{below}" if found and below in ("state", "online") else None
    path = posixpath.normpath(name)
    if path in ("state", "online"):
        return path
    if path == "../auto_online_blocks":
        return "*state"
    return f"*{posixpath.basename(path)}" if re.search("memory.*/(state|online)$", path) else None
