"""What a support case needs beside memory in sysfs: files of /proc, udev rules, what these ask for,
and memory layouts.

What tells whose machine it is stays out: comments, serial numbers, and parts of the kernel's
command line that are not about memory.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from memsim.offline_pages import offline_bytes
from safe_files.linkless import Beneath

__all__ = ["ABOUT", "MASK", "MOST_BYTES", "cleaned", "is_system_file", "read_system_files"]

MOST_BYTES: Final = 1 << 20
"""The maximum size of such a file."""

MASK: Final = "/dev/null"
"""A link to it masks the files of its name in later directories (udev(7), sysctl.d(5))."""

ABOUT: Final = "memsim-capture.json"
"""What is in no file."""

_PROC: Final = (
    *("proc/buddyinfo", "proc/cmdline", "proc/iomem", "proc/meminfo", "proc/zoneinfo"),
    *("proc/sys/kernel/osrelease", "proc/sys/kernel/arch", "proc/sysinfo", "sys/hypervisor/type"),
)
_DMI: Final = tuple(
    f"sys/{above}/dmi/id/{name}"
    for above in ("class", "devices/virtual")
    for name in (
        *("sys_vendor", "product_name", "product_version", "product_family"),
        *("board_vendor", "board_name", "bios_vendor", "chassis_vendor", "chassis_type"),
    )
)
"""What udev rules ask for to know a hypervisor; numbers that only one machine has are not there."""
_RULES: Final = tuple(
    f"{above}/udev/rules.d" for above in ("etc", "run", "usr/local/lib", "usr/lib", "lib")
)
_LAYOUTS: Final = tuple(f"{above}/memory-layout.d" for above in ("etc", "run", "usr/lib"))
_FILE: Final = re.compile(
    rf"{'|'.join((ABOUT, *_PROC, *_DMI))}"
    rf"|(?:{'|'.join(_RULES)})/[\w.@:+-]{{1,100}}\.rules"
    rf"|(?:{'|'.join(_LAYOUTS)})/[\w.@:+-]{{1,100}}\.toml"
)

# What repeats in these patterns ends at a newline or after some characters: so a file that was made
# to take long does not.

_ABOUT_MEMORY: Final = re.compile(
    r"\b(?:(?:SUBSYSTEM|KERNEL|DEVPATH)S?|ATTRS?\{[^}\n]{0,99}\})[ \t]{0,9}[!=]=[ \t]{0,9}"
    r'[ei]{0,2}"[^"\n]{0,999}(?:memory|auto_online|mem[*?\[])'
    r"|\bATTR\{(?:state|online)\}[ \t]{0,9}[+:]?=[^=]|/sys/devices/system/memory|\bmemory[%$/]"
)
"""What shows that a file of udev rules may be about memory."""

_IDENTITY: Final = re.compile(
    r"((?:serial|wwn|wwid|uuid|guid|mac|address|hostname|machine_id)[\w}]{0,99}"
    r'[ \t]{0,9}[=!:+-]?=[ \t]{0,9}[ei]?")(?:[^"\\\n]|\\.)*',
    re.IGNORECASE,
)
"""A value in a udev rule that belongs to one machine or device."""

_COMMENT: Final = re.compile(
    r"""^((?:[^"'#\n]|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')*+)#.*$""", re.MULTILINE
)

_PARAMETER: Final = re.compile(
    r"(?:memory_hotplug\.\w+|memhp_default_state|mem|memmap|memtest|movable_?node|kernelcore|movablecore"
    r"|(?:default_)?hugepagesz|hugepages|hugetlb\w*|transparent_hugepage\w*|numa\w*|crashkernel|cma\w*"
    r"|page_(?:owner|poison\w*|reporting\.\w+)|init_on_(?:alloc|free)|debug_pagealloc|swiotlb"
    r"|virtio_mem\.\w+|efi_fake_mem|kasan\w*|stack_depot\w*)(?:=[\w.,:@$!%+-]*)?"
)
"""Parameters of the kernel that are about memory
(Documentation/admin-guide/kernel-parameters.txt)."""

_UNREADABLE: Final = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOSYS)


def is_system_file(path: str) -> bool:
    """Whether a path is one of these files, and not one of sysfs."""
    return bool(_FILE.fullmatch(path))


def read_system_files(files: Beneath) -> Iterator[tuple[str, bytes | str]]:
    """The files below a root, cleaned: path -> content, and path -> MASK for a link to it.

    What is not there, or may not be read, is left out. Raises IrregularError and OSError.
    """
    for path in (ABOUT, *_PROC, *_DMI):
        found = _read(files, path) if _has_directory(files, os.path.dirname(path)) else None
        if path == ABOUT and found is None and files.name == "/":
            page_size = os.sysconf("SC_PAGESIZE")
            about: dict[str, object] = {"page_size": page_size, "machine": os.uname().machine}
            if (offline := offline_bytes(files, page_size)) is not None:
                about["offline_bytes"] = offline
            found = json.dumps(about).encode()
        if found is not None and (kept := cleaned(path, found)):
            yield path, kept
    yield from _read_directories(files, _LAYOUTS)
    rules = list(_read_directories(files, _RULES))
    about_memory = {
        os.path.basename(path) for path, content in rules if isinstance(content, bytes) and content
    }
    for path, content in rules:
        if os.path.basename(path) in about_memory and content:
            yield path, content


def _read_directories(
    files: Beneath, directories: tuple[str, ...]
) -> Iterator[tuple[str, bytes | str]]:
    for directory in directories:
        for name in sorted(files.listdir(directory)) if _has_directory(files, directory) else ():
            path = f"{directory}/{name}"
            if not is_system_file(path):
                continue
            if files.kind(path) == "link":
                with suppress(FileNotFoundError):
                    if files.readlink(path) == MASK:
                        yield path, MASK
            elif (content := _read(files, path)) is not None:
                yield path, cleaned(path, content)


def _has_directory(files: Beneath, path: str) -> bool:
    """Whether there is such a directory, and no link is on the way to it."""
    names = path.split("/") if path else []
    return all(files.kind("/".join(names[:end])) == "dir" for end in range(1, len(names) + 1))


def _read(files: Beneath, path: str) -> bytes | None:
    try:
        return files.read(path, MOST_BYTES) if files.kind(path) else None
    except OSError as error:
        if error.errno in _UNREADABLE:
            return None
        raise


def cleaned(path: str, content: bytes) -> bytes:
    """A system file without what tells whose machine it is; empty if nothing is left to say."""
    text = content.decode(errors="replace")
    if path == ABOUT:
        return _known(text)
    if path.endswith("/cmdline"):
        return (" ".join(filter(_PARAMETER.fullmatch, text.split())) + "\n").encode()
    if path.endswith("/sysinfo"):
        # Of a guest the name of its hypervisor; the name of the guest and of the machine stay out.
        return (
            "".join(re.findall(r"^VM00 Control Program:.*\n", text, re.MULTILINE)) or "\n"
        ).encode()
    if path.endswith("/iomem"):
        # Who is not root sees no address.
        return content if re.search(r"^ *0*[1-9a-f]", text, re.MULTILINE) else b""
    if path.endswith(".toml"):
        # An empty file would mask others.
        return _COMMENT.sub(r"\1", text).encode() or (content and b"\n")
    if path.endswith(".rules"):
        if not _ABOUT_MEMORY.search(text):
            return b""
        without = re.sub(r"^[ \t]*#.*$", "", text, flags=re.MULTILINE)
        return _IDENTITY.sub(r"\1", without).encode()
    return content


def _known(text: str) -> bytes:
    try:
        about = json.loads(text)
        known = {key: about[key] for key in ("page_size", "machine") if key in about}
        kept = {
            str(int(block)): int(size) for block, size in about.get("offline_bytes", {}).items()
        }
    except (ValueError, TypeError, RecursionError, AttributeError):
        return b""
    plain = all(isinstance(value, int | str) and len(str(value)) < 32 for value in known.values())
    if not (known and plain):
        return b""
    more = {"offline_bytes": kept} if "offline_bytes" in about else {}
    return json.dumps(known | more).encode()
