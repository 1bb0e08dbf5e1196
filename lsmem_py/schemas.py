"""The JSON Schema that --json-schema prints: that of what the options beside it write."""

import os
from collections.abc import Collection
from typing import Any

from lsmem_py import listings, typed
from lsmem_py.columns import COLUMNS
from lsmem_py.reports import Report

__all__ = ["schema_beside"]


def schema_beside(
    names: Collection[str], format_name: str, report: Report | None
) -> dict[str, Any]:
    """The schema of what these options write, in this format, and the REPORT that they ask for.
    Without any, that of typed JSON."""
    jsonl, json = format_name == "jsonl", format_name == "json"
    lines = jsonl or (json and os.environ.get("LIBSMARTCOLS_JSON") == "lines")
    if report and report.schema:
        return report.line_schema() if lines and report.line_schema else report.schema()
    if "diff" in names:
        from lsmem_py.diff import schema

        return schema()
    if "watch" in names:
        from lsmem_py.watch import schema

        return schema()
    if "typed" in names or not (jsonl or json):
        return typed.line_schema() if jsonl else typed.schema()
    if lines:
        return listings.line_schema("a line of lsmem --format jsonl", COLUMNS)
    return listings.schema("lsmem --json", COLUMNS)
