"""What --policy, --holes, --at, --explain and --format prometheus share: they are reports.

A report has one table of rows. Its text, its JSON and the JSON Schema of that follow from the rows.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hotplug_cli.documents import Row, described, filled, object_of, version_of
from lsmem_py.options import Options
from memory_hotplug.machine import Machine

if TYPE_CHECKING:
    from hotplug_cli.message import Sentence

__all__ = ["Pieces", "Report", "document", "schema_of"]

VERSION = version_of(1)

Pieces = tuple[Iterable[str], "Sequence[Sentence]"]
"""A text in pieces, and messages about what it cannot tell."""


class Report(NamedTuple):
    """A report, as the command line knows it."""

    pieces: Callable[[Machine, Options], Pieces]
    """Raises the errors of Machine, and OSError or LayoutError if another file cannot be read."""
    schema: Callable[[], dict[str, Any]] | None = None
    """The JSON Schema of its document; None if it has none."""
    line_schema: Callable[[], dict[str, Any]] | None = None
    """That of a line, with --format jsonl."""


def document(rows: Iterable[Row], found: object) -> str:
    """The JSON document about what was FOUND, with a newline."""
    return json.dumps(filled((VERSION, *rows), found), indent=2) + "\n"


def schema_of(title: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON Schema of `document`."""
    return described(title, object_of((VERSION, *rows)))
