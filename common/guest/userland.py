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
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guest.apt import FetchError
from guest.arch import Arch
from guest.bytecode import PYTHONS, compiled, interpreter
from guest.cpio import Archive
from guest.fetch import Userland

OURS: Final = ("lsmem_py", "chmem_py", "memory_hotplug", "hotplug_cli", "memsim", "safe_files")
"""The import packages of the tools, wherever this environment has them from."""

DISTRIBUTION: Final = "memory-hotplug-tools"

REQUIREMENTS: Final = ("click", "rich", "tabulate")
"""The distributions that our tools need at run time; these need others."""

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
        "_pyrepl",
    }
)  # fmt: skip
"""Directories of Python libraries that no command of ours comes to need."""

UNUSED_EXTENSIONS: Final = (
    "_bz2", "_codecs_", "_crypt", "_ctypes_test", "_curses", "_dbm", "_decimal", "_hashlib",
    "_lzma", "_multibytecodec", "_sqlite3", "_ssl", "_test", "_uuid", "_xx", "audioop", "nis",
    "ossaudiodev", "readline", "xx",
)  # fmt: skip

INIT: Final = """\
#!/usr/bin/busybox sh
/usr/bin/busybox --install -s /usr/bin
export PATH=/usr/bin:/usr/sbin HOME=/root TERM=linux LANG=C.UTF-8 PS1='{name}:\\w\\$ '
export ENV=/etc/shrc
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts && mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
hostname {name}
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
tries=0
while [ $tries -lt 100 ]; do
    for port in /dev/vport*p1; do
        [ -e $port ] && exec python3 {site}/guest/agent.py $port
    done
    tries=$((tries + 1))
    sleep 0.1
done
echo 'no port of virtio-serial appears: the kernel needs VIRTIO_CONSOLE and VIRTIO_{bus},' \
    'built in, or as modules'
poweroff -f
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


def file_system(
    arch: Arch, userland: Userland, cache: Path, modules: Mapping[str, bytes] | None = None
) -> FileSystem:
    """The guest's file system; FetchError when something that belongs in it is not there.

    `modules` are loaded at boot, in their order.
    """
    sources = dict(_our_files())
    order = modules or {}
    sources["/modules/order"] = " ".join(order).encode()
    sources |= {f"/modules/{name}.ko": data for name, data in order.items()}
    facts = [*_base_facts(arch, userland)]
    base = cache / f"base-{arch.name}-{_digest(facts)}.cpio"
    if not base.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as file:
            file.write(_base(arch, userland).pack())
        os.replace(file.name, base)
        of_arch = sorted(
            cache.glob(f"base-{arch.name}-*.cpio"), key=lambda path: path.stat().st_mtime
        )
        for old in of_arch[:-KEPT]:
            old.unlink()
    facts += [f"{path} {hashlib.sha256(data).hexdigest()}" for path, data in sources.items()]
    return FileSystem(_digest(facts), base, lambda: _overlay(arch, userland, sources).pack())


def _digest(facts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]


def _base_facts(arch: Arch, userland: Userland) -> Iterator[str]:
    """What the large archive is made from."""
    yield userland.digest
    version = PYTHONS[arch.userland]
    yield f"bytecode: {bool(interpreter(version) or userland.compiler.exists())}"
    for name in ("userland.py", "bytecode.py", "cpio.py", "arch.py"):
        yield Path(__file__).with_name(name).read_text()
    for name, distribution in sorted(distributions(REQUIREMENTS).items()):
        yield f"{name} {distribution.version} {distribution.locate_file('')}"


def _base(arch: Arch, userland: Userland) -> Archive:
    archive = Archive()
    for name in ("bin", "sbin", "lib", "lib64"):
        archive.link(f"/{name}", f"usr/{name}")
    for directory in ("/proc", "/sys", "/dev", "/tmp", "/root", "/run", "/etc", "/usr/lib64"):
        archive.directory(directory)
    root = userland.root
    python = f"python{PYTHONS[arch.userland]}"
    for name in ("busybox", python, "udevadm", *(name for name in arch.tools if name[:3] != "lib")):
        archive.copy(_program(root, name), f"/usr/bin/{name}")
    archive.link("/usr/bin/python3", python)
    archive.link("/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm")
    for name in COMMANDS:
        archive.copy(_program(root, name), f"{UTIL_LINUX}/{name}")
        archive.link(f"/usr/bin/{name}.ul", f"{UTIL_LINUX}/{name}")
    _add_shared_objects(archive, arch, root)
    library = _there(root / f"usr/lib/{python}")
    sources = _add_library(archive, arch, library, f"/usr/lib/{python}", below(library))
    for distribution in distributions(REQUIREMENTS).values():
        files = [Path(file) for file in distribution.files or [] if ".." not in file.parts]
        place = Path(str(distribution.locate_file("")))
        wanted = [file for file in files if not UNUSED & set(file.parts)]
        there = [file for file in wanted if (place / file).is_file()]
        sources |= _add_library(archive, arch, place, SITE, there)
    # Bytecode alone unpacks sooner. A Python of another version would not take it.
    code = compiled(sources, PYTHONS[arch.userland], userland.compiler)
    for path, data in sources.items():
        archive.add(*((f"{path}c", code[path]) if code else (path, data)))
    archive.add("/etc/shrc", SHELL_SETTINGS.encode())
    archive.add("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    for name in COMMANDS:
        script = SCRIPT.format(package=f"{name}_py")
        archive.add(f"/usr/bin/{name}", script.encode(), 0o755)
    # People say s390 to an s390x.
    init = INIT.format(name=arch.name.removesuffix("x"), site=SITE, bus=arch.bus.upper())
    archive.add("/init", init.encode(), 0o755)
    return archive


def _there(path: Path) -> Path:
    if not path.exists():
        raise FetchError(f"{path}: missing in what was fetched; memsim boot --fetch fetches anew")
    return path


def _program(root: Path, name: str) -> Path:
    """A program of the packages; before Debian 13 some are not below usr."""
    path = root / "usr/bin" / name
    return path if path.exists() else _there(root / "bin" / name)


def _add_shared_objects(archive: Archive, arch: Arch, root: Path) -> None:
    for directory in (f"lib/{arch.triplet}", f"usr/lib/{arch.triplet}"):
        for library in sorted((root / directory).glob("*.so.*")):
            target = f"/usr/lib/{arch.triplet}/{library.name}"
            if library.is_symlink() and (library.parent / library.readlink()).exists():
                archive.link(target, str(library.readlink()))
            else:
                archive.copy(library, target)
    name = Path(arch.loader).name
    loaders = [path for path in root.rglob(name) if path.is_file() and not path.is_symlink()]
    archive.copy(loaders[0] if loaders else _there(root / name), f"/usr{arch.loader}")


def _add_library(
    archive: Archive, arch: Arch, root: Path, place: str, files: Iterable[Path]
) -> dict[str, bytes]:
    """Add the files of a Python library that are no modules; the modules, by their paths."""
    sources = {}
    for file in files:
        if file.suffix in {".pyc", ".a", ".pyi", ".exe"} or not (root / file).exists():
            continue
        if file.suffix == ".so" and file.name.startswith(UNUSED_EXTENSIONS):
            continue
        if file.suffix == ".so" and arch.triplet not in file.name:
            continue  # an extension of this machine's; the library does without it
        if file.suffix == ".py":
            sources[f"{place}/{file}"] = (root / file).read_bytes()
        else:
            archive.copy(root / file, f"{place}/{file}")
    return sources


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
    """Paths in the guest and contents: our own packages, of this one what runs there, and what
    --version asks."""
    for package in (*OURS, "guest"):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(package)
        directory = Path(next(iter(spec.submodule_search_locations)))
        for file in below(directory):
            if package != "guest" or file.name in ("agent.py", "replay.py"):
                yield f"{SITE}/{package}/{file}", (directory / file).read_bytes()
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return  # run from the sources alone
    metadata = f"{SITE}/{DISTRIBUTION.replace('-', '_')}-{distribution.version}.dist-info/METADATA"
    text = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {distribution.version}\n"
    yield metadata, text.encode()


def _overlay(arch: Arch, userland: Userland, sources: Mapping[str, bytes]) -> Archive:
    """Our own modules with their bytecode beside them, and all else as it is."""
    archive = Archive()
    version = PYTHONS[arch.userland]
    for path, data in sources.items():
        archive.add(path, data)
    modules = {path: data for path, data in sources.items() if path.endswith(".py")}
    for path, code in (compiled(modules, version, userland.compiler) or {}).items():
        directory, _, name = path.rpartition("/")
        tag = f"cpython-{version.replace('.', '')}"
        archive.add(f"{directory}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc", code)
    return archive
