"""What is known of a machine that udev rules ask for: its architecture, who virtualizes it, its DMI
data, attributes of sysfs. A value that is not known is None, and one that is one of several, a set.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property

from memory_hotplug.attribute import FIRMWARE, MEMORY
from memory_hotplug.trees.files import ABOUT, Tree
from memory_hotplug.trees.root_files import (
    ARCH,
    CMDLINE,
    DMI,
    HYPERVISOR,
    SYSINFO,
    names_in,
    read_file,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

__all__ = ["NOTHING", "AttributeValues", "Facts", "Values"]

Values = frozenset[str] | None
"""The values that something may have; None if that is not known."""
NOTHING: Values = frozenset({""})
if TYPE_CHECKING:
    AttributeValues = Values | Literal[False]
    """The values of what may not be there at all: False."""

_CPUS = "proc/cpuinfo"

_ARCHITECTURES = {
    **{f"i{number}86": "x86" for number in range(3, 7)},
    "x86_64": "x86-64",
    "aarch64": "arm64",
    "aarch64_be": "arm64-be",
    "ppc64le": "ppc64-le",
    "ppcle": "ppc-le",
    "armv7l": "arm",
    "armv8l": "arm",
}
"""What uname(2) says, and what udev says for it where that differs (src/basic/architecture.h)."""
_WITH_DMI = ("x86", "x86-64", "arm64", "ia64", "loongarch64", "riscv64")

_BY_DMI = (
    ("VMware", {"vmware"}),
    ("VirtualBox|innotek", {"oracle"}),
    ("Amazon EC2", {"amazon", "kvm", "xen", "none"}),
    ("Google", {"google", "kvm"}),
    ("Microsoft Corporation.*Virtual Machine", {"microsoft"}),
    ("Parallels", {"parallels"}),
    ("BHYVE", {"bhyve"}),
    ("Bochs", {"bochs", "kvm", "qemu"}),
    ("Xen", {"xen"}),
    ("QEMU|KVM|OpenStack|Red Hat|oVirt", {"kvm", "qemu", "microsoft"}),
)
"""A pattern in the DMI data, and what udev may then say (src/basic/virt.c): the processor decides
between some of them."""


class Facts:
    """What the files below a tree's root say; each is read once, when it is asked for."""

    def __init__(self, tree: Tree, *, whole: bool = False) -> None:
        """WHOLE says that the tree has all of the machine's files that are asked for."""
        self._root = tree.system
        self._whole = whole or tree.is_this_machine
        self._here = tree.is_this_machine
        self._texts: dict[str, str | None] = {}

    @cached_property
    def partial(self) -> bool:
        """Whether the machine may have rules that are not in the tree."""
        return not self._whole and (not isinstance(self._root, str) or self.text(ABOUT) is not None)

    def text(self, path: str) -> str | None:
        """The text of a file without newlines at its end; None if it cannot be read."""
        if path not in self._texts:
            self._texts[path] = None
            with suppress(OSError):
                self._texts[path] = (
                    read_file(self._root, path).decode(errors="replace").rstrip("\n")
                )
        return self._texts[path]

    @cached_property
    def machine(self) -> str | None:
        """What uname(2) says."""
        if found := self.text(ARCH):
            return found
        import json

        with suppress(ValueError, TypeError, RecursionError):
            about = json.loads(self.text(ABOUT) or "")
            if isinstance(about, dict) and isinstance(about.get("machine"), str):
                return str(about["machine"])
        if self._here:
            return os.uname().machine
        return "s390x" if self.names(FIRMWARE) else None

    def names(self, directory: str) -> list[str]:
        """The names in a directory; none if it cannot be read."""
        try:
            return names_in(self._root, directory)
        except OSError:
            return []

    @cached_property
    def arch(self) -> Values:
        """CONST{arch}."""
        if self.machine is None:
            return frozenset(_WITH_DMI) if self._dmi("sys_vendor") else None
        return frozenset({_ARCHITECTURES.get(self.machine, self.machine)})

    @cached_property
    def virt(self) -> Values:
        """CONST{virt}."""
        import re

        if (sysinfo := self.text(SYSINFO)) is not None:
            control = re.search(r"^VM00 Control Program: *(.*)$", sysinfo, re.MULTILINE)
            return frozenset({"none" if not control else "zvm" if "z/VM" in control[1] else "kvm"})
        if self.text(HYPERVISOR) == "xen":
            return frozenset({"xen", "amazon", "none"})
        data = " ".join(self._dmi(name) or "" for name in ("sys_vendor", "product_name"))
        data += " ".join(self._dmi(name) or "" for name in ("board_vendor", "bios_vendor"))
        for pattern, values in _BY_DMI:
            if re.search(pattern, data):
                return frozenset(values)
        cpus = self.text(_CPUS) if self._whole else None
        flags = re.search(r"^flags\s*:(.*)$", cpus or "", re.MULTILINE)
        return frozenset({"none"}) if flags and " hypervisor" not in flags[1] else None

    def _dmi(self, name: str) -> str | None:
        return next((text for above in DMI if (text := self.text(f"{above}/{name}"))), None)

    @cached_property
    def has_block_attributes(self) -> frozenset[str]:
        """The names in the directories of blocks."""
        import re

        blocks = [name for name in self.names(MEMORY) if re.fullmatch("memory[0-9]+", name)]
        return frozenset(self.names(f"{MEMORY}/{min(blocks)}") if blocks else ())

    def of_memory(self, name: str) -> AttributeValues:
        """An attribute of /sys/devices/system/memory; False if there is none."""
        text = self.text(f"{MEMORY}/{name}")
        if text is not None:
            return frozenset({text})
        return False if self._whole else None

    def of_device(self, subsystem: str, kernel: str, name: str) -> AttributeValues:
        """An attribute of any device, such as sys_vendor of dmi/id; False if there is none."""
        if subsystem == "dmi":
            text = self._dmi(name) if kernel == "id" else None
            if text is not None:
                return frozenset({text})
            without = self.arch is not None and not self.arch & frozenset(_WITH_DMI)
            return False if without else self._missing(DMI if kernel == "id" else ())
        places = (f"sys/class/{subsystem}/{kernel}", f"sys/bus/{subsystem}/devices/{kernel}")
        found = [text for place in places if (text := self.text(f"{place}/{name}")) is not None]
        if found:
            return frozenset(found[:1])
        return self._missing(places)

    def _missing(self, places: tuple[str, ...]) -> AttributeValues:
        """An attribute that a device does not have is empty; False if there is no such device."""
        if not self._whole:
            return None
        return NOTHING if any(self.names(place) for place in places) else False

    def exists(self, path: str) -> bool | None:
        """Whether a file or directory is there, by its absolute path; None if that is not known."""
        path = path.strip("/")
        above, _, name = path.rpartition("/")
        if name in self.names(above):
            return True
        return False if self._whole else None

    def parameter(self, name: str) -> AttributeValues:
        """A parameter of the kernel's command line; False if it was not given."""
        text = self.text(CMDLINE)
        if text is None:
            return None
        for word in text.split():
            key, _, value = word.partition("=")
            if key.replace("-", "_") == name.replace("-", "_"):
                return frozenset({value or "1"})
        return None if self.partial else False
