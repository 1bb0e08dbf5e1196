"""The rules of the house: who may import whom, and what a reader must not meet."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import static_tree
from commands import PACKAGES, TOP

MAP = (TOP / "CONTRIBUTING.md").read_text()
MODULES = [
    pytest.param(path, name, id=f"{name}/{path.name}")
    for name, folder in PACKAGES.items()
    for path in sorted(folder.rglob("*.py"))
]
ALLOWED = {
    name: set(re.findall(r"`(\w+)`", below))
    for name, below in re.findall(r"^\| `(?:common/)?(\w+)` \| .* \| (.*) \|$", MAP, re.MULTILINE)
}
"""What a package may import of the house, besides itself: the table in CONTRIBUTING.md."""

COMMANDS = {"lsmem_py", "chmem_py", "memsim_py", "hotplug_cli"}
FOR_COMMANDS_ONLY = {"click", "rich", "tabulate"}


def imports(tree: ast.AST) -> Iterator[str]:
    """The top packages that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_the_table_of_packages_is_that_of_the_tree() -> None:
    assert ALLOWED.keys() == PACKAGES.keys()
    assert list(TopologicalSorter(ALLOWED).static_order())


@pytest.mark.parametrize(("path", "package"), MODULES)
def test_imports_go_down_only(path: Path, package: str) -> None:
    imported = set(imports(ast.parse(path.read_text())))
    assert imported & set(PACKAGES) <= ALLOWED[package] | {package}
    if package not in COMMANDS:
        assert not imported & FOR_COMMANDS_ONLY


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_all_that_the_table_lets_it_import(package: str) -> None:
    paths = PACKAGES[package].rglob("*.py")
    imported = {name for path in paths for name in imports(ast.parse(path.read_text()))}
    assert imported & set(PACKAGES) - {package} == ALLOWED[package]


def test_the_library_has_one_door_to_the_simulator() -> None:
    paths = PACKAGES["memory_hotplug"].rglob("*.py")
    doors = [path.name for path in paths if "memsim" in imports(ast.parse(path.read_text()))]
    assert doors == ["simulated.py"]


def dotted(package: str, path: Path) -> str:
    """A module's name, as it is imported."""
    parts = [package, *path.relative_to(PACKAGES[package]).with_suffix("").parts]
    return ".".join(parts).removesuffix(".__init__")


def imported_modules(path: Path, known: set[str]) -> Iterator[str]:
    """The modules among KNOWN that one imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield from (name for name in (below, node.module) if name in known)


def on_the_way(text: str) -> list[tuple[str, Path]]:
    """The modules on a way through the house, each with its package: that of the one before it, if
    none is named."""
    found, package = [], ""
    for name in re.findall(r"`([\w/]+\.py)`", text):
        first, _, rest = name.partition("/")
        package, name = (first, rest) if first in PACKAGES else (package, name)
        found.append((package, PACKAGES[package] / name))
    return found


WAYS = {
    what: on_the_way(text)
    for what, text in re.findall(r"^\| (.*?) \| (`[^|]*→[^|]*) \|$", MAP, re.MULTILINE)
}
"""The ways through the house in CONTRIBUTING.md."""


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_on_a_way_through_the_house_each_module_imports_the_next(
    way: list[tuple[str, Path]],
) -> None:
    for (_, path), (package, below) in pairwise(way):
        name = dotted(package, below)
        assert name in imported_modules(path, {name}), f"{path} does not import {below}"


def test_the_ways_lead_through_each_command_and_each_part() -> None:
    seen = {path.parent for way in WAYS.values() for _, path in way}
    parts = {path.parent for path in PACKAGES["memory_hotplug"].rglob("__init__.py")}
    commands = {PACKAGES[name] for name in ("lsmem_py", "chmem_py", "memsim_py")}
    assert seen >= parts | commands | {PACKAGES["memsim"] / "kernel", PACKAGES["guest"] / "s390"}


def test_the_map_has_all_parts_of_packages() -> None:
    there = {
        f"{path.parent.name}/"
        for folder in PACKAGES.values()
        for path in folder.glob("*/__init__.py")
    }
    listed = re.findall(r"^\* `common/.*(?:\n  .*)*", MAP, re.MULTILINE)
    assert {name for text in listed for name in re.findall(r"`(\w+/)`", text)} == there


def test_each_module_says_in_one_sentence_of_its_own_what_it_is_about() -> None:
    said: dict[str, str] = {}
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            if path.name == "__main__.py":
                continue
            lines = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")
            sentence = lines[0].partition(". ")[0]
            assert len(sentence) > len(path.stem), path
            assert sentence not in said, f"{path} and {said.get(sentence)}"
            said[sentence] = str(path)


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {
        dotted(package, path): path
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*.py")
        # A package's own page lists what its modules offer, and is imported before any of them.
        if path != folder / "__init__.py"
    }
    arrows = {
        name: set(imported_modules(path, set(modules))) - {name} for name, path in modules.items()
    }
    assert list(TopologicalSorter(arrows).static_order())


FLOORS = (
    "errors",
    "schema",
    "machine",
    "kernel.blocks kernel.devices",
    "kernel.state",
    "kernel.zones kernel.storage kernel.parts",
    "kernel.transitions",
    "kernel kernel.slots kernel.virtio_mem kernel.memory_failure",
    "kstrtox attributes addresses paths shown",
    "sysfs cxl tiers",
    "system_files offline_pages dax",
    "description machine_files",
    "records syscalls child divert",
    "capture tree",
    "from_capture directory",
    "profile reader",
    "shell_files",
    "mount",
    "namespace",
)
"""The modules of memsim from the ground up: each imports from the floors below its own only."""


def test_the_modules_of_memsim_stand_on_those_below() -> None:
    floors = {f"memsim.{name}": n for n, names in enumerate(FLOORS) for name in names.split()}
    modules = {dotted("memsim", path): path for path in PACKAGES["memsim"].rglob("*.py")}
    modules.pop("memsim")
    assert floors.keys() == modules.keys()
    for name, path in modules.items():
        for below in set(imported_modules(path, set(modules))) - {name}:
            assert floors[below] <= floors[name], f"{name} imports {below}"


def test_the_simulated_kernel_knows_no_path() -> None:
    for path in (PACKAGES["memsim"] / "kernel").glob("*.py"):
        tree = ast.parse(path.read_text())
        documentation = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and id(node) not in documentation
        ]
        assert not [text for text in texts if isinstance(text, str) and "/" in text], path.name


OPENING = {
    "files.py",
    "many.py",
    "simulated.py",
    "archive.py",
    "lock.py",
    "journal.py",
    "root_files.py",
    "places.py",
    "kernel_log.py",
}
"""The modules of the library that open files."""


def test_only_some_modules_of_the_library_touch_files() -> None:
    opening = {"open", "listdir", "scandir", "read_text", "write_text", "unlink", "mkdir"}
    found = set()
    for path in PACKAGES["memory_hotplug"].rglob("*.py"):
        called = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        if called & opening:
            found.add(path.name)
    assert found == OPENING


PARTS = (
    "",
    "trees",
    "machine reading",
    "seen",
    "udev",
    "layout",
    "change",
    "request",
    "face layout_face",
)
"""The library from the ground up: the modules beside its parts, but for those named here, and the
parts. Each imports from its own and from earlier ones only."""


def test_the_parts_of_the_library_stand_on_those_below() -> None:
    floors = {name: n for n, names in enumerate(PARTS) for name in names.split()}
    modules = {
        dotted("memory_hotplug", path): path for path in PACKAGES["memory_hotplug"].rglob("*.py")
    }
    modules.pop("memory_hotplug")

    def floor(name: str) -> int:
        return floors.get(name.split(".")[1], 0)

    for name, path in modules.items():
        for below in set(imported_modules(path, set(modules))) - {name}:
            assert floor(below) <= floor(name), f"{name} imports {below}"


IN_SEVERAL = {"__init__.py", "__main__.py", "cli.py", "options.py", "messages.py", "errors.py"}
"""The names that modules of several packages have, besides that of a machine."""


def test_no_two_packages_have_modules_of_one_name() -> None:
    """Nor have two parts of a package."""
    homes: dict[str, set[Path]] = {}
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            homes.setdefault(path.name, set()).add(path.parent)
    shared = {name for name, folders in homes.items() if len(folders) > 1}
    assert shared == IN_SEVERAL | {"machine.py"}


SAME = {"Machine", "Layout", "Device", "SysfsAttribute", "NoBlocksError", "Options"}
"""The classes that several modules have: the same thing, read by the library or made by the
simulator, or as it is public; and the values of a command's options."""


def types_made_in(path: Path) -> Iterator[str]:
    """The names of a module's classes and of other types, such as ``Text = bytes | int``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if re.fullmatch("[A-Z][a-z]+[A-Za-z]*", name):
                yield name


def test_no_class_name_has_two_meanings() -> None:
    homes: dict[str, list[Path]] = {}
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            for name in types_made_in(path):
                homes.setdefault(name, []).append(path)
    assert {name for name, paths in homes.items() if len(paths) > 1} == SAME


@pytest.mark.parametrize(("path", "package"), MODULES)
def test_no_module_is_named_like_its_function(path: Path, package: str) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, functions)]
    assert path.stem not in found, package


LONGEST = 400
"""Lines of a module."""


@pytest.mark.parametrize(("path", "package"), MODULES)
def test_no_module_is_long(path: Path, package: str) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST, package


def test_no_test_skips_itself() -> None:
    """It has the mark `needs`, and the end of the run says what it needs."""
    skipping = re.compile(r"mark\.skip|import[o]rskip|\bskip\(")
    found = {
        str(path.relative_to(TOP / "tests"))
        for path in (TOP / "tests").rglob("*.py")
        if skipping.search(path.read_text())
    }
    # Some tests are left out of a mutation run, which tests/support/commands.py knows.
    assert found == {"conftest.py", "support/commands.py"}


FOR_A_LISTING = {
    "hotplug_cli": "exits getopt offers program sizes",
    "lsmem_py": "cli columns formats options sources summary view",
    "memory_hotplug": "attribute block checks errors machine named_tuple reading size table trees "
    "trees.files trees.many",
    "safe_files": "beneath",
}
"""The modules of the house that a plain listing imports."""

OF_PYTHON = (
    *("__future__", "collections.abc", "enum", "errno", "functools", "itertools"),
    *("io", "operator", "time", "types"),
)
"""The modules of the standard library that it may import; not typing, re, contextlib and signal,
which take long."""


def imported_by(program: str) -> set[str]:
    """The modules that a program imports besides those that Python starts with."""
    begin = "import sys; started = set(sys.modules)\n"
    end = "\nprint(*sorted(set(sys.modules) - started), file=sys.stderr)"
    words = [sys.executable, "-Ic", begin + program + end]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def imported_to_run(*words: str) -> set[str]:
    """The modules that a command imports."""
    return imported_by(
        "from hotplug_cli.program import status_of\n"
        f"from {words[0]}_py.cli import {words[0]} as command\n"
        f"sys.argv = {words!r}\n"
        f"assert status_of(command, {words[0]!r}) == 0"
    )


def of_the_house(modules: Mapping[str, str]) -> set[str]:
    """The full names of MODULES, which are given by their packages."""
    named = (f"{package}.{name}" for package, names in modules.items() for name in names.split())
    return {*modules, *named}


def test_a_plain_listing_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    tree = static_tree.plain(tmp_path / "tree", ["online", "offline"])
    loaded = imported_to_run("lsmem", "-s", str(tree))
    ours = {name for name in loaded if name.partition(".")[0] in PACKAGES}
    assert ours == of_the_house(FOR_A_LISTING)
    assert loaded - ours <= imported_by(f"import {', '.join(OF_PYTHON)}")


FOR_AN_ENABLE = {
    "chmem_py": "actions cli command interrupts job jobs messages "
    "operands options output recovery request run text",
    "hotplug_cli": "exits getopt message messages offers program progress sizes",
    "memory_hotplug": "attribute block causes checks change change.absence change.batch "
    "change.guard change.journal change.lock change.outcome change.plan "
    "change.steps change.transaction change.undo "
    "condition errors face machine named_tuple reading "
    "request request.asked request.how request.mending request.need "
    "request.selection request.tally request.work runs size table "
    "trees trees.files trees.many trees.root_files",
    "safe_files": "beneath errno_names replace",
}
"""The modules of the house that chmem imports to set a block online; none reads a layout."""

OF_PYTHON_FOR_AN_ENABLE = (
    *OF_PYTHON,
    *("bisect", "contextlib", "fcntl", "gc"),
)
"""The modules of the standard library that it may import; not typing, dataclasses, json and re."""


WITH_ADVICE = {
    "chmem_py": "to_tell to_tell_messages",
    "memory_hotplug": "layout layout.at_boot udev udev.facts",
}
"""What it imports besides on a terminal, where it looks for who must be told, and for a layout."""


@pytest.mark.parametrize("operand", [("-b", "1"), ("128m",)], ids=["a block", "a size"])
@pytest.mark.parametrize(("advice", "more"), [("never", {}), ("always", WITH_ADVICE)])
def test_a_plain_enable_imports_no_more_than_it_needs(
    advice: str,
    more: Mapping[str, str],
    operand: tuple[str, ...],
    tmp_path: Path,
) -> None:
    tree = static_tree.plain(tmp_path / "tree", ["online", "offline"])
    loaded = imported_to_run("chmem", "-e", *operand, f"--advice={advice}", "-s", str(tree))
    ours = {name for name in loaded if name.partition(".")[0] in PACKAGES}
    assert ours == of_the_house(FOR_AN_ENABLE) | of_the_house(more)
    allowed = ", ".join(OF_PYTHON_FOR_AN_ENABLE)
    assert loaded - ours <= imported_by(f"import {allowed}")


def test_to_set_memory_offline_reads_no_layout_where_there_is_none(tmp_path: Path) -> None:
    tree = static_tree.plain(tmp_path / "tree", ["online", "online"])
    (tree / "proc").mkdir()
    (tree / "proc/meminfo").write_text("MemTotal: 999999 kB\nMemAvailable: 999999 kB\n")
    loaded = imported_to_run("chmem", "-d", "-b", "1", "--advice=never", "-s", str(tree))
    assert "memory_hotplug.layout.places" in loaded
    assert not {"memory_hotplug.layout.notation", "dataclasses", "typing"} & loaded
