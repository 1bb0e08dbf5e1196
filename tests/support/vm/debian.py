"""A guest's file system with Debian's systemd, udev and Python, and the tools installed for root.

tests/debian/fetch has put Debian's packages into the cache. systemd is the first process; the agent
that runs commands for the tests is a service, which starts when the machine is up.
"""

import importlib.util
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from guest import agent, userland
from guest.cpio import Archive
from guest.fetch import cache
from guest.userland import REQUIREMENTS, below, distributions
from vm.guest import Guest
from vm.machines import GIB, Machine

SUITE = "trixie"
MACHINE = Machine(nodes=(GIB,), most=8 * GIB)
"""Blocks 0 to 7; a DIMM's first block is 32."""

SITE = "/usr/lib/python3/dist-packages"
BIN = Path(__file__).parents[3] / "bin"

UNUSED = (
    "usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/zoneinfo",
    "usr/lib/udev/hwdb.d",
)  # fmt: skip
"""What no test needs; much of it would only take time."""

MASKED = (
    "getty.target", "getty-static.service", "ldconfig.service", "serial-getty@ttyS0.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service", "systemd-journal-catalog-update.service",
)  # fmt: skip

UNIT = "/usr/lib/systemd/system/agent.service"
AGENT = """\
[Unit]
Description=Runs the commands of the tests
[Service]
Environment=PATH=/usr/local/sbin:/usr/sbin:/usr/bin HOME=/root LANG=C.UTF-8
ExecStart=/bin/sh -c 'exec /usr/bin/python3 /guest/agent.py /dev/vport*p1'
[Install]
WantedBy=multi-user.target
"""


def fetched() -> Path:
    """The directory of Debian's files."""
    return cache().with_name(SUITE)


def make(files: Mapping[str, str]) -> bytes:
    """The file system. FILES are put into it: path -> text, or ``->`` and the target of a link."""
    archive = Archive()
    for source in _below(fetched()):
        _add(archive, source, f"/{source.relative_to(fetched())}")
    for name in ("passwd", "group"):
        archive.copy(fetched() / f"usr/share/base-passwd/{name}.master", f"/etc/{name}")
    archive.add("/etc/machine-id", f"{1:032x}\n".encode())
    for name in MASKED:
        archive.link(f"/etc/systemd/system/{name}", "/dev/null")
    archive.link("/init", "usr/lib/systemd/systemd")
    archive.add(UNIT, AGENT.encode())
    archive.link("/etc/systemd/system/multi-user.target.wants/agent.service", UNIT)
    archive.copy(Path(agent.__file__), "/guest/agent.py")
    for path, file in _tools():
        archive.copy(file, path)
    for path, text in files.items():
        if text.startswith("->"):
            archive.link(path, text.removeprefix("->"))
        else:
            archive.add(path, text.encode())
    return archive.pack()


def _below(root: Path) -> Iterator[Path]:
    for parent, names, leaves in os.walk(root):
        directory = Path(parent)
        names[:] = sorted(
            name for name in names
            if str((directory / name).relative_to(root)) not in UNUSED and name != "__pycache__"
        )  # fmt: skip
        yield from (directory / name for name in [*names, *sorted(leaves)])


def _add(archive: Archive, source: Path, path: str) -> None:
    kind = source.lstat().st_mode
    if stat.S_ISLNK(kind):
        archive.link(path, os.readlink(source))
    elif stat.S_ISDIR(kind):
        archive.directory(path)
    else:
        archive.copy(source, path)


def _tools() -> Iterator[tuple[str, Path]]:
    """The commands as they are installed: path in the guest, file."""
    for name in ("lsmem", "chmem", "memsim"):
        yield f"/usr/local/sbin/{name}", BIN / name
    for package in (*userland.OURS, "memsim_py"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        directory = Path(str(spec.origin)).parent
        for file in below(directory):
            yield f"{SITE}/{package}/{file}", directory / file
    for distribution in distributions(REQUIREMENTS).values():
        for module in distribution.files or []:
            if ".." not in module.parts and module.suffix == ".py":
                yield f"{SITE}/{module}", Path(str(distribution.locate_file(module)))


def booted(files: Mapping[str, str], machine: Machine = MACHINE) -> Guest:
    """A guest with these files, which are there at boot."""
    return Guest(machine, file_system=lambda: make(files))
