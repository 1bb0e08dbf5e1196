"""What is delivered beside the packages uses what is public, and nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import memory_hotplug
from commands import PACKAGES, TOP
from outside import run_outside


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


SCRIPTS = ("contrib", "debian", "ansible")
IMPORT = re.compile(r"\b(?:from|import)\s+((?:" + "|".join(PACKAGES) + r")\b[\w.]*)")


def in_scripts(path: Path) -> list[str]:
    """The modules of this project that a file which is no Python has Python import."""
    return [name for name in IMPORT.findall(path.read_text()) if name != "memory_hotplug"]


def test_no_script_that_is_delivered_has_python_import_a_private_name(tmp_path: Path) -> None:
    python = set(programs())
    for folder in SCRIPTS:
        for path in (TOP / folder).rglob("*"):
            if path.is_file() and path not in python:
                assert in_scripts(path) == [], path
    script = tmp_path / "script"
    script.write_text("python -c 'import sys; from memory_hotplug.layout.at_boot import unit_text'")
    assert in_scripts(script) == ["memory_hotplug.layout.at_boot"]


@pytest.mark.parametrize("path", list(programs()), ids=lambda path: path.name)
def test_a_program_that_is_delivered_imports_public_names_only(path: Path) -> None:
    assert private(path) == []


def test_the_collection_and_contrib_have_programs() -> None:
    names = {path.name for path in programs()}
    assert {"memory_info.py", "memory_layout.py", "memory_hotplug.py", "make-pyz"} <= names


def test_a_private_name_of_the_library_is_found(tmp_path: Path) -> None:
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


def test_programs_run_with_every_private_name_hidden(tmp_path: Path) -> None:
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


@pytest.mark.needs("ansible")
def test_the_modules_of_the_collection_are_imported_with_every_private_name_hidden(
    tmp_path: Path,
) -> None:
    (tmp_path / "ansible_collections/memory_hotplug").mkdir(parents=True)
    (tmp_path / "ansible_collections/memory_hotplug/tools").symlink_to(TOP / "ansible")
    modules = sorted((TOP / "ansible/plugins").rglob("*.py"))
    names = {path.name for path in modules}
    assert names >= {"memory_info.py", "memory_layout.py", "commands.py"}
    assert run_outside(*modules, below=tmp_path) == (0, "")


SOS = """
class Plugin:
    def __init__(self):
        self.collected = []
    def add_copy_spec(self, files):
        self.collected += files
    def add_cmd_output(self, commands):
        self.collected += commands
    def get_cmd_output_path(self):
        return "/tmp"
class IndependentPlugin:
    pass
"""
"""What sos gives to its plugins, as far as ours asks for it."""


def test_the_plugin_of_sos_runs_with_every_private_name_hidden(tmp_path: Path) -> None:
    (tmp_path / "sos/report/plugins").mkdir(parents=True)
    (tmp_path / "sos/report/plugins/__init__.py").write_text(SOS)
    plugin = TOP / "contrib/sos/memory_hotplug.py"
    use = tmp_path / "use.py"
    use.write_text(
        f"import runpy\nfound = runpy.run_path({str(plugin)!r}, run_name='outside')\n"
        "(ours,) = [one for one in found.values() if isinstance(one, type)\n"
        "           and one.__module__ == 'outside']\n"
        "plugin = ours()\nplugin.setup()\nassert plugin.collected\n"
    )
    assert run_outside(plugin, use, below=tmp_path) == (0, "")


@pytest.mark.parametrize(
    "line", ["import memory_hotplug.machine", "from memory_hotplug import open_tree"]
)
def test_a_program_with_a_private_name_does_not_run(line: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"def late():\n    {line}\nlate()\n")
    status, output = run_outside(program)
    assert (status, "hidden" in output) == (1, True)
