"""What is delivered beside the packages uses what is public, and nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import memory_hotplug
from commands import PACKAGES, TOP


def programs() -> Iterator[Path]:
    """The Python programs of the collection and of contrib."""
    for folder in ("ansible", "contrib"):
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
