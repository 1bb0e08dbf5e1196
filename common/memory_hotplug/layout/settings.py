"""The settings of a machine that say what becomes of memory that is added later.

A layout's policy names them; attribute.py says where they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from memory_hotplug.attribute import AUTO_ONLINE_BLOCKS, path_of
from memory_hotplug.errors import LayoutError
from memory_hotplug.machine import Machine
from memory_hotplug.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memory_hotplug.layout.model import Layout, Policy

__all__ = ["ATTRIBUTES", "Setting", "differing", "present", "settings_to", "with_policy", "word_of"]

ATTRIBUTES = {
    "auto_online": AUTO_ONLINE_BLOCKS,
    "online_policy": "parameters/online_policy",
    "auto_movable_ratio": "parameters/auto_movable_ratio",
    "auto_movable_numa_aware": "parameters/auto_movable_numa_aware",
}
"""Key of a policy -> name of the attribute."""


class Setting(NamedTuple):
    """A setting, and the word that is to be written to it."""

    key: str
    """As in a policy."""
    before: str
    """What it is now."""
    word: str

    @property
    def path(self) -> str:
        """Relative to the root."""
        return path_of(ATTRIBUTES[self.key])

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.rpartition("/")[2]

    @property
    def back(self) -> Setting:
        """The setting that brings it back."""
        return Setting(self.key, self.word, self.before)


def present(machine: Machine) -> dict[str, str]:
    """Key -> present value, without the settings that this kernel does not have.

    Raises BrokenTreeError.
    """
    found = {
        key: machine.auto_online_blocks
        if name == AUTO_ONLINE_BLOCKS
        else machine.parameter(name.rpartition("/")[2])
        for key, name in ATTRIBUTES.items()
    }
    return {key: value for key, value in found.items() if value is not None}


def differing(policy: Policy, machine: Machine) -> tuple[Setting, ...]:
    """The settings to write for a policy: those that are not so already.

    Raises LayoutError for a setting that this kernel does not have, and BrokenTreeError.
    """
    words = {key: word_of(value) for key, value in policy.said.items()}
    return settings_to(words, machine, policy)


def settings_to(
    words: Mapping[str, str], machine: Machine, policy: Policy | None = None
) -> tuple[Setting, ...]:
    """The settings to write for WORDS, by key, of POLICY. Raises as `differing` does."""
    now = present(machine) if words else {}
    found = []
    for key, word in words.items():
        if key not in now:
            where = policy and policy.where
            file, line = where or ("policy", None)
            raise LayoutError(file, line, f"{key} is impossible: this kernel does not have it")
        if now[key] != word:
            found.append(Setting(key, now[key], word))
    return tuple(found)


def word_of(value: object) -> str:
    """What is written for a value of a policy."""
    return {True: "Y", False: "N"}[value] if isinstance(value, bool) else str(value)


def with_policy(layout: Layout, policy: Policy) -> Layout:
    """LAYOUT with the keys that POLICY has."""
    from dataclasses import replace

    return replace(layout, policy=policy.over(layout.policy))
