"""A JSON object and its JSON Schema, both from one table of keys.

A document is told by rows: each has a key, what it is, the schema of its value, and the function
that takes the value from what was found. So a schema cannot say anything else than the document.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = [
    "BYTES",
    "COUNT",
    "DIALECT",
    "FLAG",
    "RUN",
    "TEXT",
    "TEXTS",
    "Key",
    "Row",
    "array_of",
    "closed",
    "described",
    "filled",
    "nullable",
    "object_of",
    "version_of",
]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The dialect of the schemas."""

Schema = dict[str, Any]

COUNT = BYTES = {"type": "integer", "minimum": 0}
TEXT = {"type": "string"}
FLAG = {"type": "boolean"}
TEXTS = {"type": "array", "items": TEXT}


class Row(Protocol):
    """A row of a table: a key of a JSON object."""

    @property
    def key(self) -> str: ...

    @property
    def schema(self) -> Schema:
        """JSON Schema of the value, with a description."""

    @property
    def value(self) -> Callable[[Any], Any]:
        """The value, by what was found."""

    @property
    def optional(self) -> bool:
        """Whether the key is left out where the value is None."""


class Key(NamedTuple):
    """A row that has nothing but its key."""

    key: str
    help: str
    typed: Schema
    """JSON Schema of the value, without the description."""
    value: Callable[[Any], Any]
    optional: bool = False

    @property
    def schema(self) -> Schema:
        return {**self.typed, "description": self.help}


def version_of(version: int) -> Key:
    """The row of `schema_version`, with which each document begins."""
    return Key(
        "schema_version",
        "grows when scripts that read the document must change",
        {"const": version},
        lambda _: version,
    )


def filled(rows: Iterable[Row], found: object) -> dict[str, Any]:
    """The object about what was FOUND."""
    pairs = ((row, row.value(found)) for row in rows)
    return {row.key: value for row, value in pairs if not (row.optional and value is None)}


def object_of(rows: Sequence[Row]) -> Schema:
    """The schema of `filled`."""
    needed = [row.key for row in rows if not row.optional]
    return closed({row.key: row.schema for row in rows}, needed)


def closed(properties: Mapping[str, Any], required: Iterable[str] | None = None) -> Schema:
    """The schema of an object with these keys and no others; by default it has all."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties if required is None else required),
        "additionalProperties": False,
    }


RUN = object_of(
    (
        Key("first", "the number of the first block", COUNT, lambda run: run[0]),
        Key("last", "the number of the last block, inclusive", COUNT, lambda run: run[1]),
    )
)
"""Blocks that follow each other."""


def array_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    """The schema of a value that may not be known, or not be there."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    types = schema["type"]
    return {**schema, "type": [*([types] if isinstance(types, str) else types), "null"]}


def described(title: str, schema: Schema) -> Schema:
    """The schema of a whole document."""
    return {"$schema": DIALECT, "title": title, **schema}
