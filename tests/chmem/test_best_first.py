"""chmem looks at pages, where it may: which blocks to try first, and what kept one online."""

import json
from pathlib import Path

import pytest

from commands import Command
from memory_hotplug import Machine
from memory_hotplug.request.best_first import Staying, staying
from memory_hotplug.seen.pages import Contents, Pages
from page_flags import BLOCK, LRU, PAGES, SLAB, show_pages
from simulated import Make, x86
from told import said_in


@pytest.fixture
def tree(machine: Make) -> Path:
    """16 online blocks. The highest holds a page that stays; the lower ones are used more and more,
    from the highest down, but for block 3."""
    root = machine(x86(online=16, offline=0, block_size=BLOCK))
    used = {number: (LRU, 100 + 10 * (16 - number)) for number in range(16)}
    show_pages(root, {**used, 15: (SLAB, 1), 3: (LRU, 5), 12: (SLAB, 7)})
    return root


def offline(root: Path) -> list[int]:
    with Machine.at(root) as machine:
        return [block.number for block in machine.blocks() if block.status == "offline"]


@pytest.mark.parametrize(
    ("size", "order", "taken"),
    [
        ("2m", "highest", [15]),
        ("4m", "highest", [14, 15]),
        ("2m", "auto", [14]),
        ("6m", "auto", [11, 13, 14]),
        ("28m", "auto", [*range(12), 13, 14]),
        ("30m", "auto", [*range(12), 13, 14, 15]),
        ("2m", "best", [3]),
        ("6m", "best", [3, 13, 14]),
        ("28m", "best", [*range(12), 13, 14]),
    ],
)
def test_order_tries_last_what_surely_stays(
    size: str, order: str, taken: list[int], tree: Path, chmem: Command
) -> None:
    dry = chmem("-s", tree, "-d", size, "--order", order, "--dry-run")
    words = [] if order == "auto" else ["--order", order]
    done = chmem("-s", tree, "-d", size, *words, "-v")
    assert done.status == 0
    assert offline(tree) == taken
    tried = [line.split()[2] for line in done.stdout.splitlines()]
    written = [
        line.split("/memory/memory")[1].split("/")[0] for line in dry.stdout.splitlines()[1:-1]
    ]
    assert tried == written


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """The blocks that are looked at, and whether at all of their pages."""
    found: list[tuple[int, bool]] = []

    def contents(self: Pages, number: int, *, whole: bool = True) -> Contents | None:
        found.append((number, whole))
        return of_pages(self, number, whole=whole)

    of_pages = Pages.contents
    monkeypatch.setattr(Pages, "contents", contents)
    return found


def test_no_block_is_looked_at_once_there_are_enough(
    tree: Path, chmem: Command, looks: list[tuple[int, bool]]
) -> None:
    assert chmem("-s", tree, "-d", "2m").status == 0
    assert [number for number, _ in looks] == [15, 14]


@pytest.mark.parametrize(("zone", "taken"), [("movable", 9), ("kernel", 8)])
def test_memory_of_a_device_in_movable_is_not_looked_at(
    zone: str, taken: int, machine: Make, chmem: Command, memsim: Command
) -> None:
    """The kernel puts nothing there that stays."""
    blocks = [{"range": [0, 7]}, {"range": [8, 15], "config": 0}]
    described = {**x86(block_size=BLOCK, auto_online_blocks=f"online_{zone}"), "blocks": blocks}
    root = machine(described)
    assert memsim("plug", root, "--as", "dimm", "--memory", "4m").status == 0
    show_pages(root, {9: (SLAB, 7)})
    assert chmem("-s", root, "-d", "2m").status == 0
    assert taken in offline(root)


def test_order_best_looks_at_a_sample_of_each_block(
    tree: Path, chmem: Command, looks: list[tuple[int, bool]]
) -> None:
    assert chmem("-s", tree, "-d", "2m", "--order", "best").status == 0
    assert [whole for _, whole in looks].count(False) == 16


@pytest.mark.parametrize(("order", "taken"), [("auto", 14), ("highest", 15), ("best", 3)])
def test_a_total_is_reached_in_the_order(
    order: str, taken: int, tree: Path, chmem: Command
) -> None:
    assert chmem("-s", tree, "--total", "30m", "--order", order).status == 0
    assert offline(tree) == [taken]


@pytest.mark.parametrize("order", ["auto", "highest", "best"])
def test_order_means_nothing_to_a_range(order: str, tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "-d", "-b", "12-15", "--order", order)
    assert (done.status, done.stderr) == (1, "chmem: --order means nothing to --blocks\n")
    addresses = "0xc00000-0xffffff"
    done = chmem("-s", tree, "-d", addresses, "--order", order)
    said = f"chmem: option --order goes with a SIZE, not {addresses}\n"
    assert (done.status, done.stderr) == (1, said)
    assert offline(tree) == []


def test_order_best_empties_nodes_without_processors_first(machine: Make, chmem: Command) -> None:
    blocks = [{"range": [0, 7], "node": 0}, {"range": [8, 15], "node": 1}]
    root = machine({"block_size": BLOCK, "contiguous_zones": True, "blocks": blocks})
    show_pages(root, dict.fromkeys(range(8, 16), (LRU, 400)))
    assert chmem("-s", root, "-d", "2m", "--order", "best").status == 0
    assert offline(root) == [7]
    for node, taken in (("0", [7, 15]), ("1", [6, 7, 15]), ("0-1", [5, 6, 7, 15])):
        (root / "sys/devices/system/node/has_cpu").write_text(f"{node}\n")
        assert chmem("-s", root, "-d", "2m", "--order", "best").status == 0
        assert offline(root) == taken


def test_order_of_another_name_is_refused(tree: Path, chmem: Command) -> None:
    done = chmem("-s", tree, "-d", "2m", "--order", "lowest", "--advice=always")
    assert done.status == 1
    assert done.stderr == (
        "chmem: invalid argument of --order: 'lowest'\nchmem: --order takes auto, highest or best\n"
    )


def test_a_failure_names_the_page_that_stays(machine: Make, chmem: Command) -> None:
    root = machine({**x86(online=16, block_size=BLOCK), "faults": {"offline": {"5": "EBUSY"}}})
    show_pages(root, {5: (SLAB, 3)}, count=20)
    done = chmem("-s", root, "-d", "-b", "5", "--advice=always")
    assert done.status == 1
    page = "memory block 5: the page at 0x0000000000a00000 stays: slab"
    assert f"chmem: {page}\n" in done.stderr
    report = json.loads(chmem("-s", root, "-d", "-b", "5", "--json").stdout)
    assert page in said_in(report)
    # A block without such a page keeps its secret.
    show_pages(root, {5: (LRU, 3)}, count=20)
    assert "stays" not in chmem("-s", root, "-d", "-b", "5", "--advice=always").stderr


@pytest.mark.parametrize(
    ("flag", "what"), [(LRU, "pinned"), (SLAB, "slab"), (1 << 17, "pinned"), (0, "no flags")]
)
def test_what_the_kernel_log_says_comes_first(
    flag: int, what: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_pages(tree, {5: (flag, 9), 6: (SLAB, 1)}, count=8)
    frame, untold = 5 * PAGES + 8, 9 * PAGES
    monkeypatch.setattr(
        "memory_hotplug.seen.kernel_log.read_log",
        lambda: [f"migrating pfn {pfn:x} failed ret:1" for pfn in (frame, untold)],
    )
    with Machine.at(tree) as machine:
        machine.tree.is_this_machine = True
        assert staying(machine, 5) == Staying(frame * 4096, what)
        assert staying(machine, 6) == Staying(6 * BLOCK, "slab")
        assert staying(machine, 7) is None
        # Of this page the kernel tells no flags.
        assert staying(machine, 9) == Staying(untold * 4096, "pinned")
        machine.tree.is_this_machine = False


def test_a_block_that_stays_because_memory_ran_out_is_told_from_one_with_a_page(
    machine: Make, chmem: Command
) -> None:
    root = machine(x86(online=16, offline=0, block_size=128 << 20, used=1800 << 20))
    report = json.loads(chmem("-s", root, "-d", "-b", "14-15", "--force", "--json").stdout)
    causes = [block["error"] and block["error"]["cause"] for block in report["blocks"]]
    assert causes == ["no_memory", None]


def test_a_busy_block_on_a_machine_with_free_memory_has_no_lack_of_it(
    machine: Make, chmem: Command
) -> None:
    described = x86(online=16, block_size=128 << 20, used=1 << 20)
    root = machine({**described, "faults": {"offline": {"14": "EBUSY"}}})
    report = json.loads(chmem("-s", root, "-d", "-b", "14", "--json").stdout)
    assert [block["error"]["cause"] for block in report["blocks"]] == ["unmovable"]
