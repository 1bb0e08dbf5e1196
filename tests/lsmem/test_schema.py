"""What an earlier document must be: held against the JSON Schema that lsmem prints."""

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsmem_py import typed
from lsmem_py.validation import fault

SCHEMA = typed.schema(complete=False)
VALIDATOR = jsonschema.Draft202012Validator(
    # What a later version adds is allowed.
    json.loads(json.dumps(SCHEMA).replace('"additionalProperties": false', '"unused": 0'))
)
DOCUMENT: dict[str, Any] = {
    "schema_version": 1,
    "block_size": 1 << 27,
    "total_online": 1 << 27,
    "total_offline": 0,
    "auto_online_blocks": "offline",
    "memory_hotplug": {
        "memmap_on_memory": "N",
        "online_policy": None,
        "auto_movable_ratio": 301,
        "auto_movable_numa_aware": True,
    },
    "supports": {"configure": True, "memmap_on_memory": None, "nodes": True, "valid_zones": True},
    "ranges": [
        {
            "range": "0x0000000000000000-0x0000000007ffffff",
            "size": 1 << 27,
            "state": "online",
            "removable": True,
            "block": {"first": 0, "last": 0},
            "node": 0,
            "zones": ["Normal", None],
            "configured": True,
            "memmap_on_memory": False,
            "status": "online",
            "start": 0,
            "end": (1 << 27) - 1,
            "phys_device": None,
            "memmap_size": 1 << 21,
        }
    ],
}
PLACES: list[tuple[str | int, ...]] = [
    *((name,) for name in DOCUMENT),
    *(("memory_hotplug", name) for name in DOCUMENT["memory_hotplug"]),
    *(("supports", name) for name in DOCUMENT["supports"]),
    *(("ranges", 0, name) for name in DOCUMENT["ranges"][0]),
    ("ranges", 0),
    ("ranges", 0, "block", "first"),
    ("ranges", 0, "zones", 1),
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(),
    st.text(),
    st.sampled_from(["online", "going-offline", "disabled", "0x0-0x1", "Normal"]),
    st.lists(st.one_of(st.none(), st.text(), st.integers()), max_size=3),
    st.dictionaries(st.sampled_from(["first", "last", "state", "other"]), st.integers()),
)


def changed(place: tuple[str | int, ...], value: object, *, gone: bool) -> dict[str, Any]:
    """The document with another value at a place, or without one."""
    document = copy.deepcopy(DOCUMENT)
    *above, last = place
    holder: Any = document
    for key in above:
        holder = holder[key]
    if gone:
        del holder[last]
    else:
        holder[last] = value
    return document


def test_schema_check_passes_a_whole_document() -> None:
    assert VALIDATOR.is_valid(DOCUMENT)
    assert fault(DOCUMENT, SCHEMA) is None


@given(st.sampled_from(PLACES), VALUES, st.booleans())
def test_schema_check_agrees_with_jsonschema(
    place: tuple[str | int, ...], value: object, gone: bool
) -> None:
    document = changed(place, value, gone=gone)
    found = fault(document, SCHEMA)
    assert (found is None) == VALIDATOR.is_valid(document), found


def test_schema_check_knows_every_keyword_of_the_schema() -> None:
    looked_at = {"type", "const", "enum", "minimum", "pattern", "properties", "required", "items"}
    said = {"$schema", "title", "description", "additionalProperties"}

    def keywords(schema: dict[str, Any]) -> set[str]:
        below = [*schema.get("properties", {}).values()]
        below += [schema["items"]] if "items" in schema else []
        return set(schema).union(*map(keywords, below))

    assert keywords(SCHEMA) <= looked_at | said


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("block_size",), "8", 'block_size is "8"'),
        (("block_size",), True, "block_size is true"),
        (("block_size",), 0, "block_size is 0"),
        (("ranges",), {}, "ranges is an object"),
        (("ranges", 0), None, "ranges[0] is null"),
        (("ranges", 0, "state"), "sideways", 'ranges[0].state is "sideways"'),
        (("ranges", 0, "block"), {"first": 0}, "ranges[0].block.last is missing"),
        (("ranges", 0, "zones", 1), 7, "ranges[0].zones[1] is 7"),
        (("ranges", 0, "node"), "\x1b" * 99, "ranges[0].node is " + '"\\u001b' + "\\u001b" * 5),
    ],
)
def test_schema_check_names_the_place_of_a_fault(
    place: tuple[str | int, ...], value: object, sentence: str
) -> None:
    found = fault(changed(place, value, gone=False), SCHEMA)
    assert found
    assert found.startswith(sentence)
    assert found.isprintable()
    assert len(found) < 80
