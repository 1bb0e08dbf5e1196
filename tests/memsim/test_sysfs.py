"""What the simulated sysfs answers."""

from __future__ import annotations

import errno

import pytest

from memsim.kernel.zones import NORMAL
from memsim.machine import Fault
from memsim.profile import boot
from memsim.sysfs import FIRMWARE, MEMORY, NODE, PARAMETERS, Sysfs

MIB = 1 << 20
Row = tuple[str, str, bool, bool]

EOPNOTSUPP = errno.errorcode[errno.EOPNOTSUPP]
"""Python knows this number as ENOTSUP, too."""


def state(block: int) -> str:
    return f"{MEMORY}/memory{block}/state"


def online(block: int) -> str:
    return f"{MEMORY}/memory{block}/online"


def zones(block: int) -> str:
    return f"{MEMORY}/memory{block}/valid_zones"


def config(block: int) -> str:
    return f"{FIRMWARE}/memory{block}/config"


def memmap(block: int) -> str:
    return f"{FIRMWARE}/memory{block}/memmap_on_memory"


def text(sysfs: Sysfs, path: str) -> str:
    return sysfs.read(path).decode().removesuffix("\n")


def refused(sysfs: Sysfs, path: str, data: bytes) -> str:
    """The name of the errno that a write ends with."""
    with pytest.raises(OSError) as caught:
        sysfs.write(path, data)
    assert caught.value.filename == path
    assert caught.value.errno is not None
    return errno.errorcode[caught.value.errno]


def rows(sysfs: Sysfs) -> list[Row]:
    """RANGE, STATE, CONFIGURED, MEMMAP_ON_MEMORY, joined as lsmem does; needs firmware."""
    found: list[tuple[int, int, str, bool, bool]] = []
    for block in sysfs.kernel.blocks:
        there = sysfs.kernel.blocks.present(block)
        values = (
            text(sysfs, state(block)) if there else "offline",
            text(sysfs, config(block)) == "1",
            text(sysfs, memmap(block)) == "1",
        )
        if found and found[-1][2:] == values:
            found[-1] = (found[-1][0], block, *values)
        else:
            found.append((block, block, *values))
    return [(str(a) if a == b else f"{a}-{b}", *rest) for a, b, *rest in found]  # type: ignore[misc]


@pytest.fixture
def sysfs() -> Sysfs:
    """That of an LPAR: 16 blocks online, 16 standby."""
    return Sysfs(boot("s390-lpar"))


AT_BOOT: list[Row] = [("0-15", "online", True, False), ("16-31", "offline", False, True)]


def around_block_5(*values: object) -> list[object]:
    return [
        ("0-4", "online", True, False),
        ("5", *values),
        ("6-15", "online", True, False),
        ("16-31", "offline", False, True),
    ]


def test_the_s390_session_from_configure_to_deconfigure(sysfs: Sysfs) -> None:
    assert rows(sysfs) == AT_BOOT
    sysfs.write(config(16), b"1\n")
    assert rows(sysfs) == [
        ("0-15", "online", True, False),
        ("16", "offline", True, True),
        ("17-31", "offline", False, True),
    ]
    sysfs.write(config(16), b"0\n")
    assert rows(sysfs) == AT_BOOT
    sysfs.write(state(5), b"offline\n")
    sysfs.write(config(5), b"0\n")
    assert rows(sysfs) == around_block_5("offline", False, False)
    sysfs.write(memmap(5), b"1\n")
    sysfs.write(config(5), b"1\n")
    sysfs.write(online(5), b"1\n")
    assert rows(sysfs) == around_block_5("online", True, True)
    sysfs.write(online(5), b"0\n")
    sysfs.write(config(5), b"0\n")
    assert rows(sysfs) == around_block_5("offline", False, True)
    sysfs.write(memmap(5), b"0\n")
    sysfs.write(config(5), b"1\n")
    sysfs.write(online(5), b"1\n")
    assert rows(sysfs) == AT_BOOT


def test_a_write_of_what_is_so_fails_on_state_and_succeeds_on_online(sysfs: Sysfs) -> None:
    assert refused(sysfs, state(3), b"online") == "EINVAL"
    sysfs.write(online(3), b"1")
    sysfs.write(state(3), b"offline")
    assert refused(sysfs, state(3), b"offline") == "EINVAL"
    sysfs.write(online(3), b"0")
    sysfs.write(config(3), b"1")
    sysfs.write(config(20), b"0")


def test_a_word_that_came_too_late_decides_the_next_time(sysfs: Sysfs) -> None:
    """The word of a refused write to `state` is what `online` 1 does after the next offline."""
    assert refused(sysfs, state(15), b"online_movable") == "EINVAL"
    assert text(sysfs, zones(15)) == "DMA"
    sysfs.write(state(15), b"offline")
    sysfs.write(online(15), b"1")
    assert text(sysfs, zones(15)) == "Movable"


def test_a_word_that_came_too_late_is_forgotten_with_the_next_one_or_the_block(
    sysfs: Sysfs,
) -> None:
    for path, data in ((state(15), b"online"), (config(15), b"0")):
        assert refused(sysfs, state(15), b"online_movable") == "EINVAL"
        sysfs.write(online(15), b"0")
        sysfs.write(path, data)
        sysfs.write(config(15), b"1")
        sysfs.write(online(15), b"0")
        sysfs.write(online(15), b"1")
        assert text(sysfs, zones(15)) == "Normal"


@pytest.mark.parametrize(
    ("path", "data", "answer"),
    [
        (state(3), b"offline\n\n", "EINVAL"),
        (state(3), b"Offline", "EINVAL"),
        (state(3), b" offline", "EINVAL"),
        (state(3), b"\n", "EINVAL"),
        (online(3), b"2", "EINVAL"),
        (online(3), b"o", "EINVAL"),
        (config(20), b"maybe", "EINVAL"),
        (config(3), b"0", "EBUSY"),
        (memmap(3), b"1", "EBUSY"),
        (memmap(3), b"0", "EBUSY"),
        (zones(3), b"Normal", "EACCES"),
        (f"{MEMORY}/block_size_bytes", b"1", "EACCES"),
        (f"{PARAMETERS}/memmap_on_memory", b"Y", "EACCES"),
        (f"{MEMORY}/auto_online_blocks", b"yes", "EINVAL"),
        (f"{PARAMETERS}/online_policy", b"auto", "EINVAL"),
        (f"{PARAMETERS}/auto_movable_ratio", b"-1", "EINVAL"),
        (f"{PARAMETERS}/auto_movable_ratio", b"4294967296", "ERANGE"),
        (state(16), b"online", "ENOENT"),
        (config(32), b"1", "ENOENT"),
        (f"{MEMORY}/memory03/state", b"offline", "ENOENT"),
        (f"{MEMORY}/memory3", b"offline", "EISDIR"),
        (f"{MEMORY}/memory3/node0", b"offline", "EISDIR"),
    ],
)
def test_a_wrong_write_gets_the_kernels_errno_and_changes_nothing(
    path: str, data: bytes, answer: str, sysfs: Sysfs
) -> None:
    assert refused(sysfs, path, data) == answer
    assert not sysfs.take_changes().live
    assert rows(sysfs) == AT_BOOT


@pytest.mark.parametrize("data", [b"0", b"n\n", b"N", b"off", b"Of", b"f", b"0x\0", b"no way"])
def test_a_boolean_is_its_first_characters(data: bytes, sysfs: Sysfs) -> None:
    sysfs.write(online(3), data)
    assert text(sysfs, state(3)) == "offline"
    assert text(sysfs, online(3)) == "0"


def test_an_empty_write_reaches_no_attribute(sysfs: Sysfs) -> None:
    sysfs.write(state(3), b"")
    assert rows(sysfs) == AT_BOOT


def test_memmap_on_memory_where_the_kernel_does_not_support_it() -> None:
    sysfs = Sysfs(boot("s390-zvm"))
    assert text(sysfs, memmap(40)) == "0"
    assert refused(sysfs, memmap(40), b"1") == "ENOTSUP"
    sysfs.write(memmap(40), b"0")


def test_sysfs_has_the_files_of_a_block() -> None:
    sysfs = Sysfs(boot("s390-zvm"))
    directory = f"{MEMORY}/memory10"
    files = ["online", "phys_device", "phys_index", "removable", "state", "valid_zones"]
    assert sorted(sysfs.listdir(directory)) == sorted([*files, "node0", "subsystem", "uevent"])
    shown = [text(sysfs, f"{directory}/{name}") for name in files]
    assert shown == ["1", "80", "0000000a", "1", "online", "DMA"]
    assert sysfs.readlink(f"{directory}/node0") == "../../node/node0"
    assert sysfs.readlink(f"{NODE}/node0/memory10") == "../../memory/memory10"
    assert sysfs.read(f"{directory}/node0/memory10/state") == b"online\n"
    assert sysfs.entry(f"{directory}/state").mode == 0o644
    assert sysfs.entry(f"{directory}/phys_index").mode == 0o444


def test_a_deconfigured_block_has_no_directory_and_no_link(sysfs: Sysfs) -> None:
    sysfs.write(config(16), b"1")
    assert sysfs.is_dir(f"{MEMORY}/memory16")
    assert "memory16" in sysfs.listdir(f"{NODE}/node0")
    sysfs.write(config(16), b"0")
    assert sysfs.kind(f"{MEMORY}/memory16") is None
    assert "memory16" not in sysfs.listdir(f"{NODE}/node0")
    assert f"memory{16}" in sysfs.listdir(FIRMWARE)


def test_a_machine_without_numa_has_no_nodes() -> None:
    sysfs = Sysfs(boot({"block_size": 128 * MIB, "blocks": [{"range": [0, 3], "has_node": False}]}))
    assert sysfs.kind(NODE) is None
    assert sysfs.kind("sys/firmware") is None
    assert sysfs.kind(PARAMETERS) is None
    assert "node0" not in sysfs.listdir(f"{MEMORY}/memory0")


def test_online_chooses_the_zone_whose_span_the_block_is_in() -> None:
    sysfs = Sysfs(boot("x86-two-nodes"))
    # Node 1: Normal to 119, Movable 120 to 127, offline from 128.
    assert text(sysfs, zones(128)) == "Normal Movable"
    sysfs.write(state(135), b"online_movable")
    assert text(sysfs, zones(128)) == text(sysfs, zones(134)) == "Movable Normal"
    sysfs.write(state(130), b"online")
    assert text(sysfs, zones(130)) == "Movable"
    sysfs.write(state(135), b"offline")
    assert text(sysfs, zones(129)) == "Movable Normal"
    assert text(sysfs, zones(131)) == "Normal Movable"
    sysfs.write(state(134), b"online_kernel")
    # Block 129 is now within both spans, so that the sysfs zone is chosen again.
    assert text(sysfs, zones(129)) == "Normal Movable"


def test_the_kernel_zone_is_the_lowest_whose_span_meets_the_block() -> None:
    sysfs = Sysfs(boot("x86-two-nodes"))
    assert text(sysfs, zones(0)) == "none"
    sysfs.write(state(12), b"offline")
    assert text(sysfs, zones(12)) == "DMA32 Movable"
    sysfs.write(state(12), b"online_kernel")
    assert text(sysfs, zones(12)) == "DMA32"
    sysfs.write(state(23), b"offline")
    # The edge of DMA32 has moved away from the block.
    assert text(sysfs, zones(23)) == "Normal Movable"
    sysfs.write(state(23), b"online_movable")
    assert text(sysfs, zones(23)) == "Movable"


def test_the_span_shrinks_past_every_offline_block_at_its_edge() -> None:
    sysfs = Sysfs(boot("x86-dimm-slots"))
    for block in (37, 38, 32, 33):
        sysfs.write(state(block), b"offline")
    sysfs.write(state(39), b"offline")
    assert sysfs.kernel.zones.spans[0, NORMAL] == (34, 36)
    for block in (34, 35, 36):
        sysfs.write(state(block), b"offline")
    assert (0, NORMAL) not in sysfs.kernel.zones.spans
    assert text(sysfs, zones(35)) == "Normal Movable"


def test_movable_node_prefers_movable() -> None:
    sysfs = Sysfs(
        boot(
            {
                "block_size": 128 * MIB,
                "contiguous_zones": True,
                "movable_node": True,
                "blocks": [{"range": [0, 3]}, {"range": [4, 7], "state": "offline"}],
            }
        )
    )
    assert text(sysfs, zones(6)) == "Movable Normal"
    sysfs.write(state(6), b"online")
    assert text(sysfs, zones(6)) == "Movable"


def test_the_auto_movable_policy_keeps_its_ratio() -> None:
    sysfs = Sysfs(
        boot(
            {
                "block_size": 128 * MIB,
                "contiguous_zones": True,
                "memmap_param": "N",
                "online_policy": "auto-movable",
                "auto_movable_ratio": 100,
                "blocks": [{"range": [0, 1]}, {"range": [2, 7], "state": "offline"}],
            }
        )
    )
    for block in (2, 3, 4):
        sysfs.write(state(block), b"online")
    assert [text(sysfs, zones(block)) for block in (2, 3, 4)] == ["Movable", "Movable", "Normal"]
    assert text(sysfs, zones(7)) == "Normal Movable"
    sysfs.take_changes()
    sysfs.write(f"{PARAMETERS}/auto_movable_ratio", b"301")
    assert text(sysfs, zones(7)) == "Movable Normal"
    assert zones(7) in sysfs.take_changes().paths


def test_simple_zones_are_the_first_of_off_zones() -> None:
    sysfs = Sysfs(
        boot(
            {
                "block_size": 128 * MIB,
                "blocks": [
                    {"range": [0, 3]},
                    {"range": [4, 9], "state": "offline", "off_zones": "DMA"},
                ],
            }
        )
    )
    for block, word in ((4, b"online"), (5, b"online_kernel"), (6, b"online_movable")):
        sysfs.write(state(block), word)
    assert [text(sysfs, zones(block)) for block in (4, 5, 6, 7)] == [
        "DMA",
        "Normal",
        "Movable",
        "DMA",
    ]


def test_a_block_in_several_zones_or_with_holes_cannot_go_offline() -> None:
    sysfs = Sysfs(boot("x86-two-nodes"))
    assert refused(sysfs, state(0), b"offline") == "EINVAL"
    holes = Sysfs(boot({"block_size": 128 * MIB, "blocks": [{"range": [0, 3], "holes": True}]}))
    assert refused(holes, online(2), b"0") == "EINVAL"


def test_auto_online_blocks_sets_an_added_block_online(sysfs: Sysfs) -> None:
    sysfs.write(f"{MEMORY}/auto_online_blocks", b"online_movable\n")
    sysfs.write(config(16), b"1")
    assert text(sysfs, state(16)) == "online"
    assert text(sysfs, zones(16)) == "Movable"
    assert refused(sysfs, state(16), b"online") == "EINVAL"
    sysfs.kernel.set_fault("online", 17, Fault("ENOMEM"))
    sysfs.write(config(17), b"1")
    assert text(sysfs, state(17)) == "offline"


def test_configure_stops_when_struct_pages_run_out() -> None:
    sysfs = Sysfs(boot("s390-imbalance"))
    size = 128 * MIB
    free = 4 * size - 4 * size // 64 - 256 * MIB
    expected = free // (size // 64)
    pool = sysfs.kernel.state.pool
    for block in range(4, 516):
        sysfs.write(memmap(block), b"0")
    done = 0
    for block in range(4, 516):
        try:
            sysfs.write(config(block), b"1")
        except OSError as error:
            assert error.errno == errno.ENOMEM
            break
        done += 1
    assert done == expected == 124
    # What the failed one took from the hypervisor was given back.
    assert sysfs.kernel.state.pool == pool - done * size
    assert sysfs.kind(f"{MEMORY}/memory{4 + done}") is None


@pytest.mark.parametrize(("word", "most"), [(b"online_movable", 124), (b"online_kernel", 512)])
def test_struct_pages_do_not_come_out_of_zone_movable(word: bytes, most: int) -> None:
    sysfs = Sysfs(boot("s390-imbalance"))
    done = 0
    for block in range(4, 516):
        sysfs.write(memmap(block), b"0")
        try:
            sysfs.write(config(block), b"1")
        except OSError as error:
            assert error.errno == errno.ENOMEM
            break
        sysfs.write(state(block), word)
        done += 1
    assert done == most


def test_configure_with_memmap_on_memory_never_runs_out() -> None:
    sysfs = Sysfs(boot("s390-imbalance"))
    for block in range(4, 516):
        sysfs.write(config(block), b"1")
    assert sysfs.kernel.state.pool == 0
    assert all(sysfs.kernel.blocks.present(block) for block in range(516))


def test_memory_in_use_cannot_go_offline(sysfs: Sysfs) -> None:
    done = 0
    for block in range(15, -1, -1):
        try:
            sysfs.write(state(block), b"offline")
        except OSError as error:
            assert error.errno == errno.EBUSY
            break
        done += 1
    # 2 GiB less 32 MiB of struct pages and 256 MiB in use.
    assert done == (2048 - 32 - 256) // 128
    assert sysfs.kernel.free_memory() >= 0


def test_configure_fails_when_the_hypervisor_has_no_storage_left() -> None:
    blocks = [{"range": [0, 3]}, {"range": [4, 7], "config": False}]
    description = {"block_size": 128 * MIB, "firmware": True, "hypervisor": 128 * MIB}
    sysfs = Sysfs(boot(description | {"blocks": blocks}))
    sysfs.write(config(4), b"1")
    assert refused(sysfs, config(5), b"1") == "EIO"
    sysfs.write(state(0), b"offline")
    assert refused(sysfs, config(5), b"1") == "EIO"
    sysfs.write(config(0), b"0")
    sysfs.write(config(5), b"1")
    assert sysfs.kernel.state.pool == 0


def test_an_older_s390_kernel_takes_storage_at_online_and_gives_it_back_at_offline() -> None:
    sysfs = Sysfs(boot("s390-pre-6.19"))
    assert sysfs.kind(FIRMWARE) is None
    assert text(sysfs, state(20)) == "offline"
    pool, size = sysfs.kernel.state.pool, 256 * MIB
    assert pool == 16 * size
    sysfs.kernel.set_fault("online", 20, Fault("ENOMEM", 1))
    assert refused(sysfs, state(20), b"online") == "ENOMEM"
    assert sysfs.kernel.state.pool == pool
    sysfs.write(state(20), b"online")
    assert sysfs.kernel.state.pool == pool - size
    sysfs.write(state(15), b"offline")
    assert sysfs.kernel.state.pool == pool


def test_faults_happen_always_or_so_many_times(sysfs: Sysfs) -> None:
    sysfs.kernel.set_fault("offline", 3, Fault("EBUSY", 2))
    sysfs.kernel.set_fault("deconfig", 4, Fault("EBUSY"))
    assert [refused(sysfs, state(3), b"offline") for _ in range(2)] == ["EBUSY", "EBUSY"]
    sysfs.write(state(3), b"offline")
    sysfs.write(state(4), b"offline")
    assert [refused(sysfs, config(4), b"0") for _ in range(3)] == ["EBUSY"] * 3
    sysfs.kernel.set_fault("deconfig", 4, None)
    sysfs.write(config(4), b"0")


def test_a_transition_takes_its_time_before_anything_changes(sysfs: Sysfs) -> None:
    kernel, seen = sysfs.kernel, []
    kernel.wait = lambda seconds: seen.append((seconds, rows(sysfs) == AT_BOOT, sysfs.meanwhile()))
    kernel.set_delay("offline", 3, 1.5)
    kernel.set_delay("config", 16, 1.0)
    kernel.set_delay("online", 16, 0.25)
    sysfs.write(state(3), b"offline\n")
    assert seen.pop() == (1.5, False, {state(3): b"going-offline\n"})
    assert sysfs.meanwhile() == {}
    assert refused(sysfs, state(3), b"nonsense") == "EINVAL"
    sysfs.write(state(3), b"online\n")
    assert seen == []
    sysfs.write(config(16), b"1")
    sysfs.write(config(16), b"0")
    sysfs.write(f"{MEMORY}/auto_online_blocks", b"online")
    sysfs.write(config(16), b"1")
    assert seen == [(1.0, True, {}), (1.25, True, {})]


def test_a_transition_can_be_ended_while_it_is_waited_for(sysfs: Sysfs) -> None:

    def interrupted(_seconds: float) -> None:
        raise OSError(errno.EINTR, "a signal came")

    sysfs.kernel.wait = interrupted
    sysfs.kernel.set_delay("offline", 3, 1.5)
    assert refused(sysfs, state(3), b"offline") == "EINTR"
    assert text(sysfs, state(3)) == "online"


def test_every_change_emits_its_uevent(sysfs: Sysfs) -> None:
    heard: list[tuple[str, str]] = []
    sysfs.listeners.append(lambda action, devpath: heard.append((action, devpath)))
    for path, data in (
        (config(16), b"1"),
        (state(16), b"online"),
        (state(16), b"offline"),
        (config(16), b"0"),
        (config(16), b"0"),
    ):
        sysfs.write(path, data)
    device = "/devices/system/memory/memory16"
    assert heard == [(action, device) for action in ("add", "online", "offline", "remove")]


def test_sysfs_lists_the_nodes_with_memory() -> None:
    sysfs = Sysfs(boot("x86-two-nodes"))
    lists = [f"{NODE}/{name}" for name in ("online", "has_memory", "has_normal_memory")]
    assert [text(sysfs, path) for path in lists] == ["0-1"] * 3
    for block in range(72, 120):
        sysfs.kernel.set_fault("offline", block, None)
        sysfs.write(state(block), b"offline")
    assert [text(sysfs, path) for path in lists] == ["0-1", "0-1", "0"]
    for block in range(120, 128):
        sysfs.write(state(block), b"offline")
    assert [text(sysfs, path) for path in lists] == ["0-1", "0", "0"]


def test_a_list_of_no_nodes_is_a_line() -> None:
    """drivers/base/node.c, print_nodes_state."""
    blocks = [{"range": [0, 3], "zones": "Movable"}]
    sysfs = Sysfs(boot({"block_size": 128 << 20, "blocks": blocks}))
    assert sysfs.read(f"{NODE}/has_normal_memory") == b"\n"
    assert sysfs.read(f"{MEMORY}/uevent") == sysfs.read(f"{MEMORY}/memory0/uevent") == b""


def test_a_reboot_leaves_what_was_there_at_boot_and_keeps_the_faults(sysfs: Sysfs) -> None:
    fresh = boot("s390-lpar")
    sysfs.kernel.set_fault("offline", 7, Fault("EBUSY"))
    sysfs.write(f"{MEMORY}/auto_online_blocks", b"online")
    sysfs.write(config(16), b"1")
    sysfs.write(state(5), b"offline")
    sysfs.write(config(5), b"0")
    sysfs.write(memmap(5), b"1")
    sysfs.take_changes()
    sysfs.kernel.reboot()
    changes = sysfs.take_changes()
    assert set(changes.blocks) == {5, 16}
    assert rows(sysfs) == AT_BOOT
    assert sysfs.kernel.blocks.place == fresh.blocks.place
    assert sysfs.kernel.blocks.flags == fresh.blocks.flags
    assert text(sysfs, f"{MEMORY}/auto_online_blocks") == "offline"
    assert refused(sysfs, state(7), b"offline") == "EBUSY"


@pytest.mark.parametrize(
    ("parameter", "shown"), [("Y", "1"), ("force", "1"), ("N", "0"), (None, "0")]
)
def test_the_memmap_on_memory_of_standby_memory_follows_the_parameter(
    parameter: str | None, shown: str
) -> None:
    """As seen on Linux 7.2: with N, writing 1 is refused before it is asked what is configured."""
    blocks = [{"range": [0, 1]}, {"range": [2, 3], "config": False}]
    description = {"block_size": 128 * MIB, "firmware": True, "memmap_param": parameter}
    sysfs = Sysfs(boot(description | {"blocks": blocks}))
    assert [text(sysfs, memmap(block)) for block in range(4)] == ["0", "0", shown, shown]
    sysfs.write(memmap(2), b"0")
    if shown == "1":
        sysfs.write(memmap(2), b"1")
        assert refused(sysfs, memmap(0), b"1") == "EBUSY"
    else:
        assert [refused(sysfs, memmap(block), b"1") for block in (0, 2)] == [EOPNOTSUPP] * 2
    assert refused(sysfs, memmap(0), b"0") == "EBUSY"


def test_a_description_may_differ_from_what_the_parameter_says() -> None:
    blocks = [{"range": [0, 1]}, {"range": [2, 3], "config": False}]
    description = {"block_size": 128 * MIB, "firmware": True, "memmap_param": "N"}
    sysfs = Sysfs(boot(description | {"memmap_supported": True, "blocks": blocks}))
    assert text(sysfs, memmap(2)) == "1"
    description |= {"memmap_param": "Y", "memmap_supported": False}
    sysfs = Sysfs(boot(description | {"blocks": blocks}))
    assert refused(sysfs, memmap(2), b"1") == EOPNOTSUPP


def test_a_write_takes_at_most_a_page(sysfs: Sysfs) -> None:
    assert sysfs.write(config(16), b"1".ljust(4097, b"x")) == 4096
    assert text(sysfs, config(16)) == "1"
