"""`lsmem --policy`: what becomes of memory that is added."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from memory_hotplug.attribute import path_of
from memory_hotplug.block import Zone, zone_of
from memory_hotplug.machine import Machine
from memory_hotplug.settings import ATTRIBUTES, present
from memory_hotplug.udev_rules import OnlineRule, online_rules

__all__ = ["SCHEMA_VERSION", "Policy", "format_document", "format_text", "read"]

SCHEMA_VERSION = 1
"""The version of the document."""

_MOVABLE_AT_MOST = 4
"""Up to so many times the memory of the other zones is safe in zone Movable
(Documentation/admin-guide/mm/memory-hotplug.rst)."""


class Policy(NamedTuple):
    """What says what becomes of memory that is added."""

    settings: dict[str, str]
    """Key of a layout's policy -> value; only those that the kernel has."""
    rules: list[OnlineRule]
    movable: int
    """Bytes online in zone Movable."""
    others: int
    """Bytes online in other zones."""

    @property
    def by_kernel(self) -> str | None:
        """The word by which the kernel itself sets added memory online."""
        word = self.settings.get("auto_online", "offline")
        return None if word == "offline" else word

    @property
    def by_rule(self) -> OnlineRule | None:
        """The rule that sets added memory online: the first one, for it is offline only once."""
        if self.by_kernel:
            return None
        return next((rule for rule in self.rules if rule.certain), None)

    @property
    def too_movable(self) -> bool:
        return self.movable > _MOVABLE_AT_MOST * self.others


def read(machine: Machine) -> Policy:
    """Raises the errors of Machine, and OSError if a rule cannot be read."""
    table = machine.read(("state", "zones"))
    zones = [zone_of(block) for block in table.blocks()]
    movable = zones.count(Zone.MOVABLE) * table.block_size
    others = table.total(online=True) - movable
    return Policy(present(machine), online_rules(machine.tree.system), movable, others)


def format_text(policy: Policy, format_size: Callable[[int], str]) -> Iterator[str]:
    """The lines, with newlines."""
    for key, value in policy.settings.items():
        yield f"{_file(key):<24} {value}\n"
    if policy.rules:
        yield "\nudev rules that set memory online:\n"
        places = [f"{rule.file}:{rule.line}" for rule in policy.rules]
        width = max(map(len, places))
        for place, rule in zip(places, policy.rules, strict=True):
            unknown = "" if rule.certain else ", perhaps"
            yield f"  {place:<{width}} {_words(rule)}{unknown}\n"
    yield f"\nMemory that is added {_becomes(policy)}.\n"
    if policy.too_movable:
        yield (
            f"Zone Movable has {format_size(policy.movable)}, more than {_MOVABLE_AT_MOST} times"
            f" the {format_size(policy.others)} of the other zones: the kernel can run out of"
            " memory for itself.\n"
        )


def _file(key: str) -> str:
    return path_of(ATTRIBUTES[key]).rpartition("/")[2]


def _words(rule: OnlineRule) -> str:
    return " or ".join(rule.words) or "a program"


def _becomes(policy: Policy) -> str:
    if policy.by_kernel:
        late = ", and udev comes too late" if policy.rules else ""
        return f"becomes {policy.by_kernel}: the kernel does that itself{late}"
    if rule := policy.by_rule:
        return f"becomes {_words(rule)}: by {rule.file}:{rule.line}"
    if policy.rules:
        return "stays offline, unless one of these rules is for this machine"
    return "stays offline: neither the kernel nor a udev rule sets it online"


def format_document(policy: Policy) -> str:
    """The JSON document, with a newline."""
    import json

    rule = policy.by_rule
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "settings": {_file(key): value for key, value in policy.settings.items()},
        "rules": [
            {"file": one.file, "line": one.line, "words": one.words, "certain": one.certain}
            for one in policy.rules
        ],
        "added_memory": {
            "words": [policy.by_kernel] if policy.by_kernel else list(rule.words) if rule else [],
            "by": "kernel" if policy.by_kernel else "udev" if rule else None,
            "rule": f"{rule.file}:{rule.line}" if rule else None,
        },
        "movable": policy.movable,
        "other_zones": policy.others,
        "too_movable": policy.too_movable,
    }
    return json.dumps(document, indent=2) + "\n"
