"""The manual of the library: its examples work, and it has every public name."""

import difflib
import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import memory_hotplug
from commands import TOP

PAGE = TOP / "docs/library/index.rst"
MANUAL = TOP / "man/memory_hotplug.7"


def test_the_examples_print_what_they_show() -> None:
    done = doctest.testfile(str(PAGE), module_relative=False)
    assert done.failed == 0
    assert done.attempted > 15


def test_every_public_name_is_in_the_manual() -> None:
    text = MANUAL.read_text().replace(r"\_", "_").replace("\\", "")
    named = set(re.findall(r"memory_hotplug\.(?:fB)?(\w+)", text))
    assert set(memory_hotplug.__all__) <= named


@pytest.mark.package
@pytest.mark.needs("sphinx")
def test_the_manual_is_made_from_the_docstrings_as_they_are(tmp_path: Path) -> None:
    made = tmp_path / "memory_hotplug.7"
    python = {"PYTHON": sys.executable}
    subprocess.run([TOP / "docs/library/make", made], check=True, env={**os.environ, **python})
    # Releases of Sphinx differ in macros and in where lines break.
    kept, now = (re.findall(r"\w+", path.read_text()) for path in (MANUAL, made))
    assert [*difflib.unified_diff(kept, now, lineterm="", n=0)] == [], "run docs/library/make"
