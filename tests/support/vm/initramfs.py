"""The guest's file system: a cpio archive of busybox, this environment's Python and the programs
under test.

Everything keeps the path it has on the host, so that the interpreter finds its library and the
loader its shared objects. Two archives, one after the other, as the kernel allows
(Documentation/driver-api/early-userspace/ buffer-format.rst): the large one depends on the
environment alone and is kept in the cache; the small one holds what is being tested and is made
every time.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from guest import agent, cpio, userland
from guest.cpio import Archive
from guest.userland import REQUIREMENTS, below, distributions

OURS = (
    *("lsmem_py", "chmem_py", "memsim_py"),
    *("memory_hotplug", "memsim", "hotplug_cli", "safe_files"),
)
"""The import packages under test, wherever this environment has them from."""

PROGRAMS = ("/usr/bin/lsmem", "/usr/sbin/chmem")
"""Debian's, to compare with. Ours stand in /opt/ours/bin."""

# Large parts of the standard library that no command of ours can come to need.
UNUSED = frozenset({
    "__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "site-packages", "test", "tests", "tkinter", "turtledemo",
})  # fmt: skip

# Extension modules with large shared objects, likewise.
UNUSED_EXTENSIONS = ("_tkinter.", "_sqlite3.", "_ssl.", "_hashlib.", "_test", "_xx", "_codecs_")

INIT = """\
#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/usr/bin:/usr/sbin:/bin HOME=/tmp TERM=dumb PYTHONPATH={path} PYTHONDONTWRITEBYTECODE=1
{python} /agent.py /dev/ttyS1
poweroff -f
"""

COMMAND = """\
#!/usr/bin/python3
import sys
from {package}.cli import main
sys.exit(main())
"""


def shared_objects(file: Path) -> Iterator[Path]:
    """The shared objects that the loader takes in for a program or another shared object, the
    loader included."""
    listing = subprocess.run(["ldd", file], capture_output=True, text=True, check=False)
    for match in re.finditer(r"(?:=> |^\s+)(/\S+) \(0x", listing.stdout, re.MULTILINE):
        yield Path(match[1])


def _bytecode(source: Path, scratch: Path) -> bytes:
    """A module's bytecode, never to be checked against its source: compiling under emulation takes
    minutes."""
    compiled = scratch / "module.pyc"
    py_compile.compile(
        str(source),
        cfile=str(compiled),
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    return compiled.read_bytes()


def _add_library(archive: Archive, directory: Path, files: Iterable[Path]) -> None:
    """Python files as bytecode alone, extension modules with their shared objects, and all else as
    it is."""
    with tempfile.TemporaryDirectory() as scratch:
        for file in files:
            path = directory / file
            if path.name.startswith(UNUSED_EXTENSIONS):
                continue
            if path.suffix == ".py":
                archive.add(f"{path}c", _bytecode(path, Path(scratch)))
            elif path.suffix not in {".pyc", ".a", ".o", ".exe", ".pyi"}:
                archive.copy(path)
            if path.suffix == ".so":
                _add_objects(archive, path)


def _add_objects(archive: Archive, file: Path) -> None:
    for needed in shared_objects(file):
        if str(needed) not in archive:
            archive.copy(needed)


def _add_program(archive: Archive, program: Path) -> None:
    archive.copy(program)
    _add_objects(archive, program)


def interpreter() -> Path:
    """The Python that runs the tests, not the link to it in a virtual environment."""
    return Path(sys.executable).resolve()


def _base() -> Archive:
    archive = Archive()
    for mount_point in ("/proc", "/sys", "/dev", "/tmp", "/bin", "/usr/bin", "/run"):
        archive.directory(mount_point)
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox")
    archive.copy(Path(busybox).resolve(), "/bin/busybox")
    archive.link("/bin/sh", "busybox")
    for program in PROGRAMS:
        _add_program(archive, Path(program))
    _add_program(archive, interpreter())
    archive.link("/usr/bin/python3", str(interpreter()))
    # Extension modules stand elsewhere on some distributions.
    for name in (sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")):
        library = Path(name)
        _add_library(archive, library, below(library, UNUSED))
    for distribution in distributions(REQUIREMENTS).values():
        root = Path(str(distribution.locate_file("")))
        files = [Path(file) for file in distribution.files or [] if ".." not in file.parts]
        _add_library(archive, root, [file for file in files if (root / file).is_file()])
    return archive


def _key() -> str:
    """Changes when anything that the large archive is made of does."""
    facts = [sys.version, str(interpreter())]
    facts += [Path(file).read_text() for file in (__file__, cpio.__file__, userland.__file__)]
    facts += [
        f"{name} {one.version} {one.locate_file('')}"
        for name, one in sorted(distributions(REQUIREMENTS).items())
    ]
    facts += [f"{path} {os.stat(path).st_mtime_ns}" for path in (*PROGRAMS, str(interpreter()))]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def packages() -> Iterator[tuple[str, Path]]:
    """The packages under test and their directories, from where this environment imports them."""
    for package in OURS:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(package)
        yield package, Path(next(iter(spec.submodule_search_locations))).resolve()


def _overlay() -> Archive:
    """What is being tested, from where this environment imports it, and the guest's own scripts."""
    archive = Archive()
    roots = set()
    with tempfile.TemporaryDirectory() as scratch:
        for _, directory in packages():
            roots.add(str(directory.parent))
            for file in below(directory, UNUSED):
                source = directory / file
                archive.copy(source)
                if source.suffix == ".py":
                    cached = importlib.util.cache_from_source(str(source))
                    archive.add(cached, _bytecode(source, Path(scratch)))
    # What `--version` asks; there is none where the tests run from the sources alone.
    for distribution in distributions(["memory-hotplug-tools"]).values():
        for described in distribution.files or []:
            if described.name == "METADATA":
                archive.copy(Path(str(distribution.locate_file(described))))
    for command in ("lsmem", "chmem", "memsim"):
        package = "memsim" if command == "memsim" else f"{command}_py"
        archive.add(f"/opt/ours/bin/{command}", COMMAND.format(package=package).encode(), 0o755)
    archive.copy(Path(__file__).with_name("agent.py"), "/agent.py")
    archive.copy(Path(agent.__file__), "/guest/agent.py")
    installed = {str(one.locate_file("")) for one in distributions(REQUIREMENTS).values()}
    path = ":".join([*sorted(roots), *sorted(installed - roots)])
    archive.add("/init", INIT.format(path=path, python=interpreter()).encode(), 0o755)
    return archive


def make(cache: Path) -> bytes:
    """The guest's file system for this environment and this state of the sources; `cache` is a
    directory."""
    base = cache / f"base-{_key()}.cpio"
    if not base.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for old in cache.glob("base-*.cpio"):
            old.unlink()
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
            file.write(_base().pack())
        os.replace(file.name, base)
    return base.read_bytes() + _overlay().pack()
