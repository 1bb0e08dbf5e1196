"""The guest's file system: busybox, Python, our tools, util-linux's, and the agent.

Two archives, one after the other, as the kernel allows: the large one depends on what was fetched
and on the libraries of this environment, and is kept in the cache; the small one has our own
sources and is made again when one of them changes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import py_compile
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lpar.apt import FetchError
from lpar.cpio import Archive
from lpar.fetch import Artifacts

OURS: Final = ("lsmem_py", "chmem_py", "memory_hotplug", "hotplug_cli", "memsim", "safe_files")
"""The import packages of the tools, wherever this environment has them from."""

DISTRIBUTION: Final = "memory-hotplug-tools"

REQUIREMENTS: Final = ("click", "rich", "tabulate")
"""The distributions that our tools need at run time; these need others."""

GUEST_PYTHON: Final = (3, 11)
STDLIB: Final = "/usr/lib/python3.11"
SITE: Final = "/usr/lib/python3/dist-packages"
UTIL_LINUX: Final = "/usr/util-linux/bin"
"""Where util-linux's lsmem and chmem are by their own names; in PATH they end in .ul."""

KEPT: Final = 3
"""How many large archives stay in the cache; the oldest go first."""

COMMANDS: Final = ("lsmem", "chmem")

UNUSED: Final = frozenset(
    {
        "__pycache__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests",
        "tkinter", "turtledemo", "distutils", "lexers", "styles", "asyncio", "unittest",
        "multiprocessing", "xml", "xmlrpc", "dbm", "sqlite3", "lib-tk", "wsgiref", "curses",
    }
)  # fmt: skip
"""Directories of Python libraries that no command of ours comes to need."""

UNUSED_EXTENSIONS: Final = (
    "_bz2", "_codecs_", "_crypt", "_ctypes_test", "_curses", "_dbm", "_decimal", "_hashlib",
    "_lzma", "_multibytecodec", "_sqlite3", "_ssl", "_test", "_uuid", "_xx", "audioop", "nis",
    "ossaudiodev", "readline", "xx",
)  # fmt: skip

INIT: Final = f"""\
#!/usr/bin/busybox sh
/usr/bin/busybox --install -s /usr/bin
export PATH=/usr/bin:/usr/sbin HOME=/root TERM=linux LANG=C.UTF-8 PS1='s390:\\w\\$ '
export ENV=/etc/shrc
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts && mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
hostname s390
exec python3 {SITE}/lpar/agent.py /dev/vport0p1
"""

SHELL_SETTINGS: Final = """\
alias ll='ls -l'
"""

SCRIPT: Final = """\
#!/usr/bin/python3
import sys
from {package}.cli import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The two archives, and the name that tells what they were made from."""

    key: str
    base: Path
    """The large archive, in the cache."""
    ours: Callable[[], bytes]
    """Makes the small one."""

    def write(self, path: Path) -> None:
        """Put both into one file, as QEMU wants them."""
        path.write_bytes(self.base.read_bytes() + self.ours())


def file_system(artifacts: Artifacts, cache: Path) -> FileSystem:
    """The guest's file system; FetchError when something that belongs in it is not there."""
    sources = dict(_our_files())
    facts = [*_base_facts(artifacts)]
    base = cache / f"base-{_digest(facts)}.cpio"
    if not base.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
            file.write(_base(artifacts).pack())
        os.replace(file.name, base)
        for old in sorted(cache.glob("base-*.cpio"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink()
    facts += [f"{path} {hashlib.sha256(data).hexdigest()}" for path, data in sources.items()]
    return FileSystem(_digest(facts), base, lambda: _overlay(sources).pack())


def _digest(facts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]


def _base_facts(artifacts: Artifacts) -> Iterator[str]:
    """What the large archive is made from."""
    yield artifacts.digest
    yield f"compiled by {sys.version_info[:2]}"
    for source in (Path(__file__), Path(__file__).with_name("cpio.py")):
        yield source.read_text()
    for name, distribution in sorted(distributions(REQUIREMENTS).items()):
        yield f"{name} {distribution.version} {distribution.locate_file('')}"


def _base(artifacts: Artifacts) -> Archive:
    archive = Archive()
    for name in ("bin", "sbin", "lib"):
        archive.link(f"/{name}", f"usr/{name}")
    for mount_point in ("/proc", "/sys", "/dev", "/tmp", "/root", "/run", "/etc"):
        archive.directory(mount_point)
    root = artifacts.userland
    for path in ("bin/busybox", "usr/bin/python3.11"):
        archive.copy(_there(root / path), f"/usr/bin/{Path(path).name}")
    archive.link("/usr/bin/python3", "python3.11")
    archive.copy(_there(root / "bin/udevadm"), "/usr/bin/udevadm")
    archive.link("/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm")
    for name in COMMANDS:
        archive.copy(_there(root / f"usr/bin/{name}"), f"{UTIL_LINUX}/{name}")
        archive.link(f"/usr/bin/{name}.ul", f"{UTIL_LINUX}/{name}")
    archive.copy(_there(root / "usr/lib/s390x-linux-gnu/ld64.so.1"), "/usr/lib/ld64.so.1")
    for directory in ("lib/s390x-linux-gnu", "usr/lib/s390x-linux-gnu"):
        for library in sorted((root / directory).glob("*.so.*")):
            target = f"/usr/lib/s390x-linux-gnu/{library.name}"
            if library.is_symlink() and (library.parent / library.readlink()).exists():
                archive.link(target, str(library.readlink()))
            else:
                archive.copy(library, target)
    library = _there(root / STDLIB[1:])
    _add_library(archive, library, STDLIB, below(library))
    for distribution in distributions(REQUIREMENTS).values():
        files = [Path(file) for file in distribution.files or [] if ".." not in file.parts]
        place = Path(str(distribution.locate_file("")))
        wanted = [file for file in files if not UNUSED & set(file.parts)]
        _add_library(archive, place, SITE, [file for file in wanted if (place / file).is_file()])
    archive.add("/etc/shrc", SHELL_SETTINGS.encode())
    archive.add("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    for name in COMMANDS:
        script = SCRIPT.format(package=f"{name}_py")
        archive.add(f"/usr/bin/{name}", script.encode(), 0o755)
    archive.add("/init", INIT.encode(), 0o755)
    return archive


def _there(path: Path) -> Path:
    if not path.exists():
        raise FetchError(f"{path}: missing in what was fetched; memsim boot --fetch fetches anew")
    return path


def _add_library(archive: Archive, root: Path, place: str, files: Iterable[Path]) -> None:
    """Python files as bytecode alone, which unpacks sooner, and all else as it is."""
    for file in files:
        if file.suffix in {".pyc", ".a", ".pyi", ".exe"}:
            continue
        if file.suffix == ".so" and file.name.startswith(UNUSED_EXTENSIONS):
            continue
        if file.suffix == ".so" and "s390x" not in file.name:
            continue  # an extension of this machine's; the library does without it
        code = _bytecode(root / file, f"{place}/{file}") if file.suffix == ".py" else None
        if code:
            archive.add(f"{place}/{file}c", code)
        else:
            archive.copy(root / file, f"{place}/{file}")


def _bytecode(source: Path, path: str) -> bytes | None:
    """A module compiled here, never to be checked against its source: an emulated CPU needs most
    of a minute for all of them. None where this Python is not of the guest's version, which would
    not take it."""
    if sys.version_info[:2] != GUEST_PYTHON:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        compiled = py_compile.compile(
            str(source),
            cfile=f"{scratch}/module.pyc",
            dfile=path,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        return Path(str(compiled)).read_bytes()


def below(directory: Path, unused: frozenset[str] = UNUSED) -> Iterator[Path]:
    """The files below a directory, relative to it, but for directories with a name in `unused`."""
    for parent, names, files in os.walk(directory):
        names[:] = sorted(name for name in names if name not in unused and name[:7] != "config-")
        yield from (Path(parent, file).relative_to(directory) for file in sorted(files))


def distributions(names: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """The named distributions and all that they require here, without extras, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform or Python version
        requirements = found[name].requires or []
        waiting += [
            re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line
        ]
    return found


def _our_files() -> Iterator[tuple[str, bytes]]:
    """Paths in the guest and contents of our own packages, the agent, and what --version asks."""
    for package in (*OURS, "lpar"):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(package)
        directory = Path(next(iter(spec.submodule_search_locations)))
        for file in below(directory):
            if package != "lpar" or file.name == "agent.py":
                yield f"{SITE}/{package}/{file}", (directory / file).read_bytes()
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return  # run from the sources alone
    metadata = f"{SITE}/{DISTRIBUTION.replace('-', '_')}-{distribution.version}.dist-info/METADATA"
    text = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {distribution.version}\n"
    yield metadata, text.encode()


def _overlay(sources: dict[str, bytes]) -> Archive:
    archive = Archive()
    with tempfile.TemporaryDirectory() as scratch:
        for path, data in sources.items():
            archive.add(path, data)
            if path.endswith(".py"):
                source = Path(scratch, "module.py")
                source.write_bytes(data)
                if code := _bytecode(source, path):
                    directory, _, name = path.rpartition("/")
                    name = name.removesuffix(".py")
                    archive.add(f"{directory}/__pycache__/{name}.cpython-311.pyc", code)
    return archive
