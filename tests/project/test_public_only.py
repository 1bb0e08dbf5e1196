"""What is delivered beside the packages uses what is public, and nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import memory_hotplug
from commands import PACKAGES, TOP, start_python


def programs() -> Iterator[Path]:
    """The Python programs of the collection and of contrib, and the recipes of the manual."""
    for folder in ("ansible", "contrib", "docs/library/recipes"):
        for path in sorted((TOP / folder).rglob("*")):
            if path.is_file() and (path.suffix == ".py" or _is_python(path)):
                yield path


def _is_python(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline()
    return first.startswith(b"#!") and b"python" in first


def imported(path: Path) -> Iterator[tuple[str, str | None]]:
    """The modules that a program imports anywhere in it, each with the name it takes of it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def private(path: Path) -> list[tuple[str, str | None]]:
    """What a program imports of this project that is not public."""
    return [
        (module, name)
        for module, name in imported(path)
        if module.partition(".")[0] in PACKAGES
        and not (module == "memory_hotplug" and name in (None, *memory_hotplug.__all__))
    ]


@pytest.mark.parametrize("path", list(programs()), ids=lambda path: path.name)
def test_a_program_that_is_delivered_imports_public_names_only(path: Path) -> None:
    assert private(path) == []


def test_the_collection_and_contrib_have_programs() -> None:
    names = {path.name for path in programs()}
    assert {"memory_info.py", "memory_layout.py", "memory_hotplug.py", "make-pyz"} <= names


def test_a_private_name_is_found(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import memory_hotplug\nfrom memory_hotplug import Machine, open_tree\n"
        "def late():\n    import memory_hotplug.machine\n    from chmem_py.cli import chmem\n"
    )
    assert private(program) == [
        ("memory_hotplug", "open_tree"),
        ("memory_hotplug.machine", None),
        ("chmem_py.cli", "chmem"),
    ]


HIDING = f"""
import builtins, runpy, sys
import memory_hotplug

HOUSE = {sorted(PACKAGES)!r}
found = builtins.__import__

def public_only(name, globals=None, locals=None, fromlist=(), level=0):
    outside = (globals or {{}}).get("__name__", "").partition(".")[0] not in HOUSE
    if outside and not level and name.partition(".")[0] in HOUSE:
        if name != "memory_hotplug":
            raise ImportError(name + " is hidden")
        if hidden := {{*fromlist}} - {{*memory_hotplug.__all__, "__version__"}}:
            raise ImportError(f"{{hidden}} of {{name}} are hidden")
    return found(name, globals, locals, fromlist, level)

builtins.__import__ = public_only
try:
    programs, sys.argv[1:] = sys.argv[1:], []
    for path in programs:
        runpy.run_path(path, run_name="outside")
except ImportError as error:
    sys.exit(print(error) or 1)
"""
"""Runs programs for which every private name is hidden, and not for the library itself."""


def run_outside(*programs: Path) -> tuple[int, str]:
    """The status of programs that are run, each as a module, and what an import failed by."""
    process = start_python(HIDING, *programs)
    output, _ = process.communicate()
    return process.returncode, output


def test_programs_run_with_every_private_name_hidden(tmp_path: Path) -> None:
    # Others need Ansible or sos, or are scripts; what they import is read above.
    recipes = [path for path in programs() if "recipes" in path.parts]
    work = tmp_path / "work.py"
    work.write_text(
        "from memory_hotplug import Action, Machine, Order\n"
        "with Machine.simulated('s390-lpar') as machine:\n"
        "    order = Order(Action.DISABLE)\n"
        "    assert machine.forecast(order, size=machine.block_size).changed\n"
        "    assert [*machine.change(order, size=machine.block_size)] and [*machine.undo()]\n"
    )
    assert len(recipes) >= 10
    assert run_outside(*recipes, work) == (0, "")


@pytest.mark.parametrize(
    "line", ["import memory_hotplug.machine", "from memory_hotplug import open_tree"]
)
def test_a_program_with_a_private_name_does_not_run(line: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"def late():\n    {line}\nlate()\n")
    status, output = run_outside(program)
    assert (status, "hidden" in output) == (1, True)
