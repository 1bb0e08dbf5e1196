"""What --policy, --holes, --at, --explain and --format prometheus share: they are reports.

A report has one table of rows. Its text, its JSON and the JSON Schema of that follow from the rows.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lsmem_py.options import Options
from memory_hotplug.machine import Machine

if TYPE_CHECKING:
    from hotplug_cli.message import Sentence

__all__ = [
    "BYTES",
    "DIALECT",
    "SCHEMA_VERSION",
    "Pieces",
    "Report",
    "Row",
    "closed",
    "document",
    "schema_of",
]

SCHEMA_VERSION = 1
"""The version of the documents."""

BYTES = {"type": "integer", "minimum": 0}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The dialect of the schemas."""

Pieces = tuple[Iterable[str], "Sequence[Sentence]"]
"""A text in pieces, and messages about what it cannot tell."""


class Report(NamedTuple):
    """A report, as the command line knows it."""

    pieces: Callable[[Machine, Options], Pieces]
    """Raises the errors of Machine, and OSError or LayoutError if another file cannot be read."""
    schema: Callable[[], dict[str, Any]] | None = None
    """The JSON Schema of its document; None if it has none."""


class Row(Protocol):
    """A row of a report that is one JSON object: a key of it."""

    @property
    def key(self) -> str: ...

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON Schema of the value, with a description."""

    @property
    def value(self) -> Callable[[Any], Any]:
        """The value, by what was read of the machine."""

    @property
    def optional(self) -> bool:
        """Whether the key is left out where the value is None."""


def document(rows: Iterable[Row], found: object) -> str:
    """The JSON document about what was FOUND, with a newline."""
    pairs = ((row, row.value(found)) for row in rows)
    told = {row.key: value for row, value in pairs if not (row.optional and value is None)}
    return json.dumps({"schema_version": SCHEMA_VERSION, **told}, indent=2) + "\n"


def schema_of(title: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON Schema of `document`."""
    keys = {"schema_version": {"const": SCHEMA_VERSION}, **{row.key: row.schema for row in rows}}
    needed = ["schema_version", *(row.key for row in rows if not row.optional)]
    return {"$schema": DIALECT, "title": title, **closed(keys, needed)}


def closed(properties: Mapping[str, Any], required: Iterable[str] | None = None) -> dict[str, Any]:
    """The JSON Schema of an object with these keys and no others; by default it has all."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties if required is None else required),
        "additionalProperties": False,
    }
