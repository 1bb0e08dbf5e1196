"""What is installed, and that the README says what is true of it."""

import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Command

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    where = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(where)]
    subprocess.run(build, cwd=TOP, check=True, capture_output=True)
    (file,) = where.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


def test_the_backend_has_a_name_of_its_own_in_site_packages(wheel: set[str]) -> None:
    packages = {name.partition("/")[0] for name in wheel}
    assert {"lsmem_py", "chmem_py", "memory_hotplug", "memsim", "hotplug_cli"} <= packages
    assert not packages & {"common", "tests"}


@pytest.mark.parametrize(
    "package", ["lsmem_py", "chmem_py", "memory_hotplug", "memsim", "hotplug_cli"]
)
def test_every_package_is_typed(package: str, wheel: set[str]) -> None:
    assert f"{package}/py.typed" in wheel


def test_every_manual_is_installed_where_man_looks(wheel: set[str]) -> None:
    manuals = list((TOP / "man").glob("*.[1-8]"))
    assert {manual.name for manual in manuals} == {"lsmem.1", "chmem.8", "memsim.1"}
    for manual in manuals:
        place = f"data/share/man/man{manual.suffix[1:]}/{manual.name}"
        assert any(name.endswith(place) for name in wheel)


def test_the_readme_lists_a_machine_in_three_lines() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 3
    code = code.replace('at("/")', 'simulated("s390-lpar")')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "0x0-0x7fffffff online 0",
        "0x80000000-0xffffffff disabled None",
    ]


LSMEM_EXAMPLES = [
    example
    for example in re.findall(r"^    (lsmem [^#\n]*?)(?:  .*)?$", README, re.MULTILINE)
    # A live view never ends, and a comparison needs a file; both have tests of their own.
    if "--watch" not in example and "--diff" not in example
]


def test_the_readme_has_examples() -> None:
    assert len(LSMEM_EXAMPLES) > 3


# --watch goes on until it is interrupted: test_watch.py has it.
@pytest.mark.parametrize("example", [one for one in LSMEM_EXAMPLES if "--watch" not in one])
def test_every_lsmem_example_of_the_readme_works(
    example: str, lsmem: Command, machines: Callable[[str], Path]
) -> None:
    done = lsmem(*shlex.split(example)[1:], "--sysroot", machines("s390-mixed"))
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout
