"""The JSON Schemas of listings as util-linux's lsmem writes them, from the table of columns."""

from collections.abc import Sequence
from typing import Any

from hotplug_cli.documents import array_of, closed, described
from lsmem_py.columns import Column

__all__ = ["line_schema", "schema"]


def schema(title: str, columns: Sequence[Column]) -> dict[str, Any]:
    """The JSON Schema of a listing of any of COLUMNS, with --json."""
    rows = {**array_of(_row(columns)), "description": "the rows of the listing"}
    return described(title, closed({"memory": rows}))


def line_schema(title: str, columns: Sequence[Column]) -> dict[str, Any]:
    """The JSON Schema of a line of a listing, with --format jsonl or LIBSMARTCOLS_JSON=lines."""
    return described(title, _row(columns))


def _row(columns: Sequence[Column]) -> dict[str, Any]:
    """A row has the columns that are asked for, as texts; with --bytes, numbers for sizes."""
    return closed(
        {one.key: {"type": _types(one), "description": one.help} for one in columns}, required=()
    )


def _types(column: Column) -> list[str]:
    if column.json:
        # What is no text in util-linux's JSON has the type of typed JSON.
        types = column.schema["type"]
        return [types] if isinstance(types, str) else list(types)
    return ["string", "null", *(["integer"] if column.number else [])]
