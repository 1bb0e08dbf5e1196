"""Trees, machines and command lines at random, for the fuzz beside util-linux.

They are of the kinds that a kernel, an old kernel, or a person who copies a tree can make, and a
few that nobody makes. Damage that is aimed at our own commands is made by the other fuzzes.
"""

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import static_tree
from simulated import MIB, Condition
from static_tree import FIRMWARE, MEMORY, PARAMETERS

# Trees for lsmem

SIZES = (128 * MIB, 256 * MIB, 1 << 31, 1 << 30, 3 * MIB, 16 * MIB)
ZONES = ("DMA", "DMA32", "Normal", "Movable", "Device", "none", "Highmem", "Weird")


def make(rng: random.Random, root: Path) -> None:
    """A tree of plain files."""
    static_tree.make(root, _description(rng))
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])):
        rng.choice(CHANGES)(rng, root)


def _description(rng: random.Random) -> dict[str, Any]:
    firmware = rng.random() < 0.4
    blocks, at = [], 0
    for _ in range(rng.randint(1, 5)):
        at += rng.choice([0, 0, 0, 0, 1, 5])
        count = rng.choice([1, 1, 2, 3, 8])
        group: dict[str, Any] = {"range": [at, at + count - 1]}
        group["state"] = rng.choice(["online", "online", "offline"])
        group["zones"] = rng.choice(ZONES)
        group["off_zones"] = rng.choice(["Normal Movable", "Movable Normal", "Movable", "Normal"])
        group["node"] = rng.choice([0, 0, 0, 1, 3])
        group["removable"] = rng.choice([0, 1, 1])
        if firmware:
            group["config"] = rng.choice([1, 1, 0])
            group["memmap"] = rng.choice([0, 1])
        if rng.random() < 0.1:
            group["has_node"] = False
        blocks.append(group)
        at += count
    return {
        "block_size": rng.choice(SIZES),
        "firmware": firmware,
        "memmap_param": rng.choice(["Y", "N", "force", None, "N", "1", ""]),
        "valid_zones": rng.random() < 0.9,
        "blocks": blocks,
    }


def _blocks(root: Path) -> list[Path]:
    return sorted(path for path in (root / MEMORY).glob("memory*") if path.is_dir())


def _some(rng: random.Random, root: Path) -> Path:
    """The directory of a block."""
    return rng.choice(_blocks(root) or [root / MEMORY / "memory0"])


def _missing(rng: random.Random, root: Path) -> None:
    for _ in range(rng.choice([1, 1, 3])):
        name = rng.choice(["removable", "removable", "state", "valid_zones", "phys_device"])
        (_some(rng, root) / name).unlink(missing_ok=True)


def _missing_everywhere(rng: random.Random, root: Path) -> None:
    name = rng.choice(["removable", "state", "valid_zones"])
    for block in _blocks(root):
        (block / name).unlink(missing_ok=True)


def _state(rng: random.Random, root: Path) -> None:
    words = ["going-offline", "online_movable", "online_kernel", "weird", "", "ONLINE", "offline "]
    static_tree.write(_some(rng, root) / "state", rng.choice(words))


def _zones(rng: random.Random, root: Path) -> None:
    count = rng.choice([0, 1, 2, 2, 3, 8, 9, 12])
    static_tree.write(_some(rng, root) / "valid_zones", " ".join(rng.choices(ZONES, k=count)))


def _unknown_zones(rng: random.Random, root: Path) -> None:
    for block in _blocks(root):
        if (block / "valid_zones").exists():
            static_tree.write(block / "valid_zones", "Weird")


def _removable(rng: random.Random, root: Path) -> None:
    static_tree.write(_some(rng, root) / "removable", rng.choice(["2", "", "x", " 1", "01", "-1"]))


def _nodes(rng: random.Random, root: Path) -> None:
    block = _some(rng, root)
    for name in rng.choice(
        [["node0", "node1"], ["node7"], ["nodes"], ["node"], ["node2", "nodex"]]
    ):
        (block / name).mkdir(exist_ok=True, parents=True)


def _no_links(_: random.Random, root: Path) -> None:
    for link in root.glob(f"{MEMORY}/memory*/node*"):
        link.unlink() if link.is_symlink() else link.rmdir()


def _size(rng: random.Random, root: Path) -> None:
    sizes = ["8000000", "0x10000000", "", "x", "0", "80000000", "-1", " 8000000", "8000000 9"]
    static_tree.write(root / MEMORY / "block_size_bytes", rng.choice(sizes))


def _nothing(rng: random.Random, root: Path) -> None:
    gone = rng.choice([MEMORY / "block_size_bytes", MEMORY, Path("sys"), FIRMWARE, PARAMETERS])
    path = root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _no_blocks(_: random.Random, root: Path) -> None:
    for block in _blocks(root):
        shutil.rmtree(block)


def _firmware(rng: random.Random, root: Path) -> None:
    block = root / FIRMWARE / f"memory{rng.randrange(8)}"
    what = rng.choice(["gone", "config", "memmap_on_memory", "no config", "empty"])
    if what == "gone":
        shutil.rmtree(block, ignore_errors=True)
    elif what == "no config":
        (block / "config").unlink(missing_ok=True)
    elif what == "empty":
        (root / FIRMWARE).mkdir(parents=True, exist_ok=True)
    elif block.is_dir():
        static_tree.write(block / what, rng.choice(["0", "1", "2", "x", ""]))


def _stranger(rng: random.Random, root: Path) -> None:
    names = ["memory", "memoryx", "memory007", "memory1x", "power"]
    (root / MEMORY / rng.choice(names)).mkdir(parents=True, exist_ok=True)


def _parameter(rng: random.Random, root: Path) -> None:
    words = ["Yes", "y", "force", "forced", "N ", "0", "", "No"]
    static_tree.write(root / PARAMETERS / "memmap_on_memory", rng.choice(words))


Change = Callable[[random.Random, Path], None]
CHANGES: tuple[Change, ...] = (
    *(_missing, _missing, _missing_everywhere, _state, _state, _zones, _zones, _unknown_zones),
    *(_removable, _nodes, _no_links, _size, _nothing, _no_blocks, _firmware, _firmware),
    *(_stranger, _parameter),
)

# Command lines of lsmem

COLUMNS = (
    *("RANGE", "SIZE", "STATE", "REMOVABLE", "BLOCK", "NODE", "ZONES"),
    *("CONFIGURED", "MEMMAP-ON-MEMORY"),
)


def _list(rng: random.Random) -> str:
    names = [name if rng.random() < 0.5 else name.lower() for name in COLUMNS]
    if rng.random() < 0.2:
        names += ["FOO", "", "SIZ", "size ", "RANGES", "node,"]
    count = rng.choice([1, 1, 2, 3, 4, 5, 9, 10, 14, 19])
    return rng.choice(["", "", "", "+"]) + ",".join(rng.choices(names, k=count))


def _option(rng: random.Random) -> list[str]:
    """An option of lsmem."""
    kind = rng.choice("aabbJJnnPPrroooooSSSsummary" + "NNTTXx")
    if kind in "abJnPr":
        return ["-" + kind]
    if kind == "o":
        value = rng.choice([_list(rng)] * 12 + ["", "+"])
        return rng.choice([["-o", value], ["-o" + value], ["--output", value], ["--out=" + value]])
    if kind == "S":
        value = rng.choice([_list(rng)] * 6 + ["none", "NONE", "", "+"])
        return rng.choice([["-S", value], ["--split=" + value]])
    if kind == "N":
        return [
            rng.choice(["--annotate=", "--anno="]) + rng.choice(["never", "auto", "auto", "x", ""])
        ]
    if kind == "T":
        return ["--annotate" + rng.choice(["", "=always"])]
    if kind == "x":
        words = ["--output-all", "--output-all", "extra", "-x", "--nope", "-o", "--", "--all=1", ""]
        return [rng.choice(words)]
    if kind == "X":
        return ["--noheadings", "--bytes"] if rng.random() < 0.5 else ["--raw"]
    if kind in "su":
        return ["--summary" + rng.choice(["", "", "=only", "=always", "=never", "=x", "="])]
    return ["--output-all"]


def lsmem_line(rng: random.Random, root: Path) -> list[str]:
    """A command line of lsmem about the tree at ROOT."""
    place = rng.choice([str(root)] * 40 + [f"{root}/", "/nowhere/at/all", f"{root}/sys"])
    words = ["-s", place]
    for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4])):
        words += _option(rng)
    return words


def environment(rng: random.Random) -> dict[str, str]:
    """What a person may have set. Advice is our own."""
    some = {"PATH": "/usr/bin:/bin", "TERM": "xterm", "LSMEM_ADVICE": "never"}
    some["CHMEM_ADVICE"] = "never"
    for name, values in {
        "LSMEM_COLUMNS": ["SIZE,BLOCK", "+NODE", "FOO", "", "+"],
        "LIBSMARTCOLS_JSON": ["compact", "lines", "x"],
        "COLUMNS": ["20", "x", "100"],
        "POSIXLY_CORRECT": ["1"],
        "LC_ALL": ["C", "C.UTF-8"],
    }.items():
        if rng.random() < 0.1:
            some[name] = rng.choice(values)
    return some


# Machines and command lines for chmem


def machine(rng: random.Random) -> dict[str, Any]:
    """The description of a machine for memsim. Every fault is the same each time."""
    firmware = rng.random() < 0.5
    blocks, at = [], 0
    for _ in range(rng.randint(1, 4)):
        at += rng.choice([0, 0, 0, 0, 1, 3])
        count = rng.choice([1, 1, 2, 4])
        group: dict[str, Any] = {"range": [at, at + count - 1]}
        group["state"] = rng.choice(["online", "online", "offline"])
        group["zones"] = rng.choice(["Normal", "Normal", "DMA", "DMA32", "Movable", "none"])
        group["off_zones"] = rng.choice(
            ["Normal Movable", "Normal Movable", "Normal", "Movable", "DMA Movable"]
        )
        if firmware and rng.random() < 0.4:
            group |= {"config": 0, "memmap": rng.choice([0, 1])}
            group.pop("state")
        blocks.append(group)
        at += count
    found: dict[str, Any] = {
        "block_size": rng.choice([128 * MIB, 128 * MIB, 1 << 30, 1 << 31]),
        "firmware": firmware,
        "memmap_param": rng.choice(["Y", "N"]),
        "memmap_supported": rng.random() < 0.8,
        "valid_zones": rng.random() < 0.9,
        "blocks": blocks,
    }
    numbers = [
        number for group in blocks for number in range(group["range"][0], group["range"][1] + 1)
    ]
    if rng.random() < 0.3:
        found["auto_online_blocks"] = rng.choice(["online", "online_kernel", "online_movable"])
    if rng.random() < 0.4:
        found["faults"] = {
            rng.choice(["online", "offline", *(["config", "deconfig"] if firmware else [])]): {
                str(rng.choice(numbers)): rng.choice(["EBUSY", "ENOMEM", "EIO", "EINVAL"])
                for _ in range(rng.choice([1, 1, 2, 4]))
            }
        }
    return found


def chmem_line(
    rng: random.Random, machine: Mapping[str, Any], blocks: Mapping[int, Condition]
) -> list[str]:
    """A command line of chmem, without the machine."""
    actions = ["-e", "-e", "-d", "-d", "--enable", "--disable"]
    actions += ["-c", "-g", "-c", "-g"] if machine["firmware"] else rng.choice([[], ["-c", "-g"]])
    words = [rng.choice(actions)]
    if rng.random() < 0.6:
        words.append("-v")
    if rng.random() < 0.3:
        words += ["-z", rng.choice(["Normal", "Movable", "movable", "DMA", "DMA32", "Weird"])]
    if rng.random() < (0.4 if words[0] in ("-c", "-g") else 0.03):
        words += ["-m", rng.choice(["0", "1"])]
    if rng.random() < 0.03:
        words += rng.choice([["-e"], ["-d"], ["-c"], ["-x"], ["extra"], ["-b"]])
    return [*words, *_operand(rng, machine["block_size"], list(blocks))]


def _operand(rng: random.Random, size: int, numbers: list[int]) -> list[str]:
    first = rng.choice(numbers)
    last = first + rng.choice([0, 0, 1, 2, 5])
    kind = rng.random()
    if kind < 0.4:
        return ["-b", str(first) if first == last else f"{first}-{last}"]
    if kind < 0.6:
        return [f"{first * size:#x}-{(last + 1) * size - 1:#x}"]
    if kind < 0.93:
        count = rng.choice([1, 1, 2, 3, 8])
        return [f"{count * size // MIB}{rng.choice(['m', 'M', 'MiB', ''])}"]
    wrong = ["", "x", "0", "-", "1-", "-1", "3-1", "1.5g", "64", "7k", "0x0-0x7", "1-2-3", "0x"]
    wrong += ["ax0-bx7", "99999999999999999999", "9999e", "1m-2m", "0x0-", "+128m", "128mb", "0x80"]
    return [*rng.choice([[], ["-b"]]), *rng.choice([["--", word] for word in wrong] + [[]])]
