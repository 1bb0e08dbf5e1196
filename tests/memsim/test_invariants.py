"""Random writes on a simulated machine, and what must always be true of it."""

from __future__ import annotations

import errno

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memsim import records
from memsim.kernel.blocks import IN_ZONE, MEMMAP
from memsim.kernel.zones import MOVABLE
from memsim.machine import ZONES, Fault
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, NODE, Sysfs

SIZE = 128 << 20
BLOCKS = range(20)
MACHINE = {
    "block_size": SIZE,
    "firmware": True,
    "contiguous_zones": True,
    "memmap_param": "Y",
    "zone_limits": {"DMA": 2 * SIZE + 1},
    "used": SIZE,
    "hypervisor": 8 * SIZE,
    "increment": SIZE // 4,
    "large_pages": False,
    "blocks": [
        {"range": [0, 5]},
        {"range": [6, 7], "zones": "Movable"},
        {"range": [8, 9], "state": "offline", "node": 1},
        {"range": [12, 19], "config": False, "node": 1},
    ],
}

# Few, so that the same block goes up and down: edges of spans, the middle, what is not there.
blocks = st.sampled_from([0, 2, 4, 5, 6, 7, 9, 10, 12, 13, 19])
states = st.sampled_from(["online", "online_kernel", "online_movable", "offline", "offline", "bad"])
booleans = st.sampled_from(["0", "0", "1", "1", "y", "off", "?"])


class RandomWrites(RuleBasedStateMachine):
    """Compares with a second kernel that is only kept up to date by the changes of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = boot(MACHINE)
        self.sysfs = Sysfs(self.kernel)
        blocks = self.kernel.blocks
        self.kept = (bytearray(blocks.place), bytearray(blocks.flags))
        self.shown = self._tree()
        self.memmap = self._memmaps()
        self.storage = self._storage()
        self.early = set(range(8))

    def _tree(self) -> dict[str, bytes | str | None]:
        found: dict[str, bytes | str | None] = {}
        todo = [""]
        while todo:
            above = todo.pop()
            for name in self.sysfs.listdir(above):
                path = f"{above}/{name}".lstrip("/")
                kind = self.sysfs.kind(path)
                if kind == "dir":
                    todo.append(path)
                    found[path] = None
                else:
                    read = self.sysfs.readlink if kind == "link" else self.sysfs.read
                    found[path] = read(path)
        return found

    def _memmaps(self) -> dict[int, tuple[bool, bytes]]:
        return {
            block: (
                self.kernel.blocks.present(block),
                self.sysfs.read(f"{FIRMWARE}/memory{block}/memmap_on_memory"),
            )
            for block in self.kernel.blocks
        }

    def _storage(self) -> int:
        state = self.kernel.state
        assigned = SIZE * sum(map(self.kernel.blocks.present, BLOCKS))
        return state.pool + assigned + sum(state.kept.values())

    def _write(self, path: str, text: str) -> None:
        try:
            self.sysfs.write(path, text.encode())
        except OSError as error:
            expected = ("EINVAL", "EBUSY", "ENOENT", "EIO", "ENOMEM")
            assert errno.errorcode[error.errno or 0] in expected

    @rule(block=blocks, text=states)
    def write_state(self, block: int, text: str) -> None:
        self._write(f"{MEMORY}/memory{block}/state", text)

    @rule(block=blocks, text=booleans)
    def write_online(self, block: int, text: str) -> None:
        self._write(f"{MEMORY}/memory{block}/online", text)

    @rule(block=blocks, text=booleans)
    def write_config(self, block: int, text: str) -> None:
        self._write(f"{FIRMWARE}/memory{block}/config", text)
        if not self.kernel.blocks.present(block):
            self.early.discard(block)

    @rule(block=blocks, text=states)
    def up(self, block: int, text: str) -> None:
        self.write_config(block, "1")
        self.write_state(block, text)

    @rule(block=blocks)
    def down(self, block: int) -> None:
        self.write_online(block, "0")
        self.write_config(block, "0")

    @rule(block=blocks, text=booleans)
    def write_memmap(self, block: int, text: str) -> None:
        self._write(f"{FIRMWARE}/memory{block}/memmap_on_memory", text)

    @rule(text=states)
    def write_auto_online(self, text: str) -> None:
        self._write(f"{MEMORY}/auto_online_blocks", text)

    @rule(text=st.sampled_from(["contig-zones", "auto-movable"]))
    def write_policy(self, text: str) -> None:
        self._write("sys/module/memory_hotplug/parameters/online_policy", text)

    @rule(
        block=st.sampled_from([0, 5, 7, 9, 15]),
        transition=st.sampled_from(["online", "offline", "config", "deconfig"]),
        times=st.integers(1, 2),
    )
    def fail(self, block: int, transition: str, times: int) -> None:
        self.kernel.set_fault(transition, block, Fault("EIO", times))

    @precondition(lambda self: self.kernel.state.pool < 6 * SIZE)
    @rule()
    def reboot(self) -> None:
        self.kernel.reboot()
        self.early = set(range(8))
        self.memmap = self._memmaps()

    @invariant()
    def hypervisor_and_configured_storage_are_constant(self) -> None:
        assert self._storage() == self.storage
        assert self.kernel.state.pool >= 0

    @invariant()
    def directories_are_there_exactly_for_configured_blocks(self) -> None:
        names = set(self.sysfs.listdir(MEMORY))
        links = {name for node in (0, 1) for name in self.sysfs.listdir(f"{NODE}/node{node}")}
        configured = {
            f"memory{block}"
            for block in self.kernel.blocks
            if self.sysfs.read(f"{FIRMWARE}/memory{block}/config") == b"1\n"
        }
        assert {name for name in names if name.startswith("memory")} == configured == links

    @invariant()
    def state_and_online_agree(self) -> None:
        for block in self.kernel.blocks:
            if self.kernel.blocks.present(block):
                state = self.sysfs.read(f"{MEMORY}/memory{block}/state")
                online = self.sysfs.read(f"{MEMORY}/memory{block}/online")
                assert (state, online) in ((b"online\n", b"1\n"), (b"offline\n", b"0\n"))

    @invariant()
    def memmap_on_memory_changes_only_while_deconfigured(self) -> None:
        now = self._memmaps()
        for block, (present, memmap) in now.items():
            was_present, was = self.memmap[block]
            assert memmap == was or not (present and was_present)
        self.memmap = now

    @invariant()
    def spans_and_counts_are_those_of_the_blocks(self) -> None:
        online: dict[tuple[int, int], list[int]] = {}
        early: dict[int, int] = {}
        for block in self.kernel.blocks:
            place, node = self.kernel.blocks.at(block), self.kernel.blocks.group(block).node
            if place >= IN_ZONE:
                online.setdefault((node, place), []).append(block)
                kernel_memory = block in self.early and place != MOVABLE
                early[node] = early.get(node, 0) + kernel_memory
        zones = self.kernel.zones
        assert {k: n for k, n in zones.online.items() if n} == {
            k: len(b) for k, b in online.items()
        }
        assert {k: n for k, n in zones.early.items() if n} == {k: n for k, n in early.items() if n}
        # Block 2 lies in DMA and in Normal, and never goes offline.
        for name in ("DMA", "Normal"):
            online.setdefault((0, IN_ZONE + ZONES.index(name)), []).append(2)
        assert zones.spans == {key: (min(found), max(found)) for key, found in online.items()}

    @invariant()
    def struct_pages_add_up(self) -> None:
        pages = self.kernel.struct_pages
        present = [b for b in BLOCKS if self.kernel.blocks.present(b)]
        own = [b for b in present if self.kernel.blocks.flag(b, MEMMAP)]
        assert pages.outside == len(present) - len(own)
        assert pages.own == sum(self.kernel.blocks.at(block) >= IN_ZONE for block in own)
        assert self.kernel.free_memory() >= 0

    @invariant()
    def the_changes_tell_all_that_reads_differently(self) -> None:
        changes, now = self.sysfs.take_changes(), self._tree()
        for index, (place, flags) in changes.blocks.items():
            self.kept[0][index], self.kept[1][index] = place, flags
        assert self.kept == (self.kernel.blocks.place, self.kernel.blocks.flags)
        for path in now.keys() | self.shown.keys():
            if now.get(path, "") != self.shown.get(path, ""):
                assert any(path == told or path.startswith(f"{told}/") for told in changes.paths)
        self.shown = now

    @invariant()
    def what_is_kept_makes_the_same_kernel(self) -> None:
        kernel = self.kernel
        live = records.live_record(kernel)
        again = records.restored(kernel.machine, kernel.blocks.content(), live)
        assert again.blocks.content() == kernel.blocks.content()
        assert records.live_record(again) == live
        assert again.zones.spans == kernel.zones.spans
        assert (again.struct_pages.own, again.struct_pages.outside) == (
            kernel.struct_pages.own,
            kernel.struct_pages.outside,
        )
        assert again.zones.early == kernel.zones.early
        online = {key: count for key, count in kernel.zones.online.items() if count}
        assert again.zones.online == online


RandomWrites.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, derandomize=True
)
TestRandomWrites = pytest.mark.slow(RandomWrites.TestCase)
