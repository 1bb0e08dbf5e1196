"""`lsmem --json --typed`, and the schema of it."""

import json
from pathlib import Path

import jsonschema
import pytest

import static_tree
from commands import VECTORS, Command, Machines
from static_tree import MEMORY, PARAMETERS


@pytest.mark.parametrize("name", VECTORS["machines"])
def test_typed_json_is_as_its_schema_says(name: str, lsmem: Command, machines: Machines) -> None:
    schema = json.loads(lsmem("--json-schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    for more in ([], ["-a"], ["-o", "BLOCK,PHYS_DEVICE"], ["-S", "none"]):
        done = lsmem("-s", machines(name), "-J", "--typed", *more)
        document = json.loads(done.stdout)
        jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
        lines = lsmem("-s", machines(name), "--format", "jsonl", "--typed", *more).stdout
        assert [json.loads(line) for line in lines.splitlines()] == document["ranges"]


def test_typed_json_has_null_where_the_reference_guesses(
    lsmem: Command, machines: Machines
) -> None:
    document = json.loads(lsmem("-s", machines("s390-lpar"), "-J", "--typed").stdout)
    online, standby = document["ranges"]
    assert online == {
        "range": "0x0000000000000000-0x000000007fffffff",
        "size": 2 << 30,
        "state": "online",
        "removable": True,
        "block": {"first": 0, "last": 15},
        "node": 0,
        "nodes": [0],
        "zones": ["Normal"],
        "configured": True,
        "memmap_on_memory": False,
        "status": "online",
        "start": 0,
        "end": (2 << 30) - 1,
        "memmap_size": 32 << 20,
    }
    unknown = {"removable": None, "node": None, "nodes": None, "zones": None}
    assert standby.items() >= {**unknown, "state": "offline", "status": "disabled"}.items()
    assert document["supports"] == {
        "configure": True,
        "memmap_on_memory": True,
        "nodes": True,
        "valid_zones": True,
    }
    assert (document["total_online"], document["total_offline"]) == (2 << 30, 2 << 30)


def test_typed_json_has_the_parameters_with_their_types(lsmem: Command, tree: Path) -> None:
    for name, text in (
        ("memmap_on_memory", "force"),
        ("online_policy", "contig-zones"),
        ("auto_movable_ratio", "301"),
        ("auto_movable_numa_aware", "Y"),
    ):
        static_tree.write(tree / PARAMETERS / name, text)
    static_tree.write(tree / MEMORY / "auto_online_blocks", "online_movable")
    document = json.loads(lsmem("-s", tree, "-J", "--typed").stdout)
    assert document["memory_hotplug"] == {
        "memmap_on_memory": "force",
        "online_policy": "contig-zones",
        "auto_movable_ratio": 301,
        "auto_movable_numa_aware": True,
    }
    assert document["auto_online_blocks"] == "online_movable"
