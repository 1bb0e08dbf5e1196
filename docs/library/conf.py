"""Sphinx makes the manual of the library, as a man page and as HTML; docs/library/make runs it."""

import sys
import tomllib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from entries import PACKAGE, expanded  # it is beside this file

project = "memory-hotplug-tools"
version = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())["project"]["version"]
today = "November 30, 2026"
exclude_patterns = ["recipes"]
nitpicky = False
add_module_names = False
python_use_unqualified_type_names = True
smartquotes = False

man_pages = [("index", "memory_hotplug", "memory blocks from Python", "", 7)]

html_theme = "furo"
html_title = f"memory_hotplug {version}"
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"


def _with_entries(app: Any, _page: str, content: list[str]) -> None:
    """In HTML, a name in a docstring is a link to its entry."""
    content[0] = expanded(content[0], ":py:obj:" if app.builder.format == "html" else "")


def setup(app: Any) -> None:
    app.connect("source-read", _with_entries)
