"""Check a JSON value against a JSON Schema, with the part of the standard that our schemas use.

The package jsonschema takes a millisecond for each range of a document, which is a minute for
65,536 blocks. A test compares this module with it.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["fault"]

_TYPES: dict[str, type] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}

_LONGEST = 40
"""The maximum of characters of a value in a message."""


def fault(value: object, schema: Mapping[str, Any], where: str = "") -> str | None:
    """The fault of VALUE, in a few words that begin with its place; None if VALUE is valid.

    A key that is not in the schema is no fault: a later version may write it.
    """
    if not _is_one(value, schema):
        return f"{where or 'the document'} is {_shown(value)}"
    if isinstance(value, dict):
        dot = "." if where else ""
        for name in schema.get("required", ()):
            if name not in value:
                return f"{where}{dot}{name} is missing"
        for name, below in schema.get("properties", {}).items():
            if name in value and (found := fault(value[name], below, f"{where}{dot}{name}")):
                return found
    elif isinstance(value, list) and "items" in schema:
        for index, one in enumerate(value):
            if found := fault(one, schema["items"], f"{where}[{index}]"):
                return found
    return None


def _is_one(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether the type of a value is allowed, or the value itself."""
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types
    # In Python True is an int; in JSON it is not an integer.
    if names and not any(type(value) is _TYPES[name] for name in names):
        return False
    if "const" in schema and not _same(value, schema["const"]):
        return False
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        return False
    if "minimum" in schema and type(value) is int and value < schema["minimum"]:
        return False
    return not (
        "pattern" in schema
        and isinstance(value, str)
        and not re.search(schema["pattern"], value, re.ASCII)
    )


def _same(value: object, other: object) -> bool:
    return type(value) is type(other) and value == other


def _shown(value: object) -> str:
    """The value as text; for a long one, its kind."""
    if isinstance(value, dict | list):
        return {dict: "an object", list: "an array"}[type(value)]
    import json

    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
