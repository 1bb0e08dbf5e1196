"""The manual of the library: its examples work, and it has every public name."""

import difflib
import doctest
import inspect
import os
import pydoc
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import entries
import memory_hotplug
from commands import TOP

SOURCE = TOP / "docs/library"
MANUAL = TOP / "man/memory_hotplug.7"


def test_the_examples_print_what_they_show() -> None:
    done = doctest.testfile(str(SOURCE / "howto.rst"), module_relative=False)
    assert done.failed == 0
    assert done.attempted > 15


# help()


def test_help_is_short_and_names_all() -> None:
    told = pydoc.plain(pydoc.render_doc(memory_hotplug))
    assert len(told.splitlines()) < 600
    assert set(memory_hotplug.__all__) <= set(re.findall(r"\w+", told))
    for name in dir(memory_hotplug):
        assert f"{name}(" in told


# The reference


def test_every_public_name_has_one_entry() -> None:
    lines = re.findall(r"^\.\. public:: (.*)", (SOURCE / "reference.rst").read_text(), re.M)
    named = [name.removesuffix("()") for line in lines for name in line.split()]
    assert sorted(named) == sorted(memory_hotplug.__all__)


@pytest.mark.parametrize("name", memory_hotplug.__all__)
def test_an_entry_has_a_row_for_all_that_a_program_can_use(name: str) -> None:
    value = getattr(memory_hotplug, name)
    rows = re.findall(r"^   \.\. py:\w+:: (\w+)", entries.entry(name, ""), re.MULTILINE)
    if inspect.isclass(value):
        made = {*vars(value), *getattr(value, "__slots__", ())}
        private = {one for one in made if one.startswith("_") or is_not_public(vars(value)[one])}
        assert made - private <= set(rows)
        assert private.isdisjoint(rows)
    assert len(rows) == len(set(rows))


def is_not_public(value: object) -> bool:
    return (getattr(value, "__doc__", None) or "").startswith("Not public:")


@pytest.mark.parametrize("name", memory_hotplug.__all__)
def test_each_type_that_a_row_names_is_public(name: str) -> None:
    rows = re.findall(r"^ +(?:\.\. py:\w+::|:type:) (.*)", entries.entry(name, ""), re.MULTILINE)
    types = re.findall(r"\b[A-Z][a-z]\w+", " ".join(rows))
    assert not (types_of_the_house() & set(types)) - set(memory_hotplug.__all__)


@cache
def types_of_the_house() -> set[str]:
    """The names of classes and of other types in the source of the library."""
    source = "".join(path.read_text() for path in entries.PACKAGE.rglob("*.py"))
    return set(re.findall(r"^(?:class )?([A-Z][a-z]\w+)(?=[(:]| = )", source, re.MULTILINE))


def test_what_python_gives_to_every_class_is_not_in_the_manual() -> None:
    text = MANUAL.read_text().replace("\\", "")
    for dump in ("Alias for field", "<function", "<factory>", " object at ", "~collections"):
        assert dump not in text


# What Sphinx makes


def words(page: Path) -> list[str]:
    """The words that are read. Releases of Sphinx and docutils differ in macros, in fonts, and in
    where lines break."""
    _, _, text = page.read_text().partition("\n.TH ")
    text = re.sub(r'^\.(\\".*|ft .*|\w+)', "", text, flags=re.MULTILINE)
    return re.findall(r"\w+", re.sub(r"\\f(\[\w*\]|\(\w\w|\w)", "", text))


def make(*arguments: Path | str) -> None:
    python = {"PYTHON": sys.executable}
    subprocess.run([SOURCE / "make", *arguments], check=True, env={**os.environ, **python})


@pytest.mark.needs("sphinx")
def test_the_man_page_is_made_from_its_source_as_it_is(tmp_path: Path) -> None:
    made = tmp_path / "memory_hotplug.7"
    make(made)
    difference = difflib.unified_diff(words(MANUAL), words(made), lineterm="", n=0)
    assert [*difference] == [], "run docs/library/make"


@pytest.mark.needs("sphinx", "furo")
def test_the_same_is_made_as_html_without_a_warning(tmp_path: Path) -> None:
    make("--html", tmp_path)
    parts = {part: (tmp_path / f"{part}.html").read_text() for part in ("howto", "reference")}
    for name in memory_hotplug.__all__:
        assert f'id="memory_hotplug.{name}"' in parts["reference"]
    assert 'href="#memory_hotplug.BlockTable"' in parts["reference"]
    assert "Machine" in parts["howto"]
