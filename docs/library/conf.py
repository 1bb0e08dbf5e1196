"""Sphinx makes man/memory_hotplug.7 from the docstrings; docs/library/make runs it."""

import re
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]

project = "memory-hotplug-tools"
version = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["version"]
today = "November 30, 2026"
extensions = ["sphinx.ext.autodoc"]
autodoc_member_order = "groupwise"
man_pages = [("index", "memory_hotplug", "memory blocks from Python", "", 7)]


def _docstring(
    _app: Any, what: str, _name: str, _object: object, _options: Any, lines: list[str]
) -> None:
    """`Name` is a name, as in Markdown. What the page says itself stands there once."""
    if what == "module":
        lines.clear()
    lines[:] = [re.sub(r"(?<!`)`([^`]+)`(?!`)(s?)", r"``\1``\ \2", line) for line in lines]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _docstring)
