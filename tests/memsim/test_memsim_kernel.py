"""What the simulated kernel answers."""

from __future__ import annotations

import errno

import pytest

from memsim.kernel import Kernel
from memsim.machine import FIRMWARE, MEMORY, NODE, PARAMETERS, Fault
from memsim.profile import boot

MIB = 1 << 20
Row = tuple[str, str, bool, bool]


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


def text(kernel: Kernel, path: str) -> str:
    return kernel.read(path).decode().removesuffix("\n")


def refused(kernel: Kernel, path: str, data: bytes) -> str:
    """The name of the errno that a write ends with."""
    with pytest.raises(OSError) as caught:
        kernel.write(path, data)
    assert caught.value.filename == path
    assert caught.value.errno is not None
    return errno.errorcode[caught.value.errno]


def rows(kernel: Kernel) -> list[Row]:
    """RANGE, STATE, CONFIGURED, MEMMAP_ON_MEMORY, joined as lsmem does; needs firmware."""
    found: list[tuple[int, int, str, bool, bool]] = []
    for block in kernel.blocks():
        there = kernel.present(block)
        values = (
            text(kernel, state(block)) if there else "offline",
            text(kernel, config(block)) == "1",
            text(kernel, memmap(block)) == "1",
        )
        if found and found[-1][2:] == values:
            found[-1] = (found[-1][0], block, *values)
        else:
            found.append((block, block, *values))
    return [(str(a) if a == b else f"{a}-{b}", *rest) for a, b, *rest in found]  # type: ignore[misc]


AT_BOOT: list[Row] = [("0-15", "online", True, False), ("16-31", "offline", False, True)]


def around_block_5(*values: object) -> list[object]:
    return [
        ("0-4", "online", True, False),
        ("5", *values),
        ("6-15", "online", True, False),
        ("16-31", "offline", False, True),
    ]


def test_the_cover_letters_session() -> None:
    kernel = boot("s390-lpar")
    assert rows(kernel) == AT_BOOT
    kernel.write(config(16), b"1\n")
    assert rows(kernel) == [
        ("0-15", "online", True, False),
        ("16", "offline", True, True),
        ("17-31", "offline", False, True),
    ]
    kernel.write(config(16), b"0\n")
    assert rows(kernel) == AT_BOOT
    kernel.write(state(5), b"offline\n")
    kernel.write(config(5), b"0\n")
    assert rows(kernel) == around_block_5("offline", False, False)
    kernel.write(memmap(5), b"1\n")
    kernel.write(config(5), b"1\n")
    kernel.write(online(5), b"1\n")
    assert rows(kernel) == around_block_5("online", True, True)
    kernel.write(online(5), b"0\n")
    kernel.write(config(5), b"0\n")
    assert rows(kernel) == around_block_5("offline", False, True)
    kernel.write(memmap(5), b"0\n")
    kernel.write(config(5), b"1\n")
    kernel.write(online(5), b"1\n")
    assert rows(kernel) == AT_BOOT


def test_a_write_of_what_is_so_fails_on_state_and_succeeds_on_online() -> None:
    kernel = boot("s390-lpar")
    assert refused(kernel, state(3), b"online") == "EINVAL"
    kernel.write(online(3), b"1")
    kernel.write(state(3), b"offline")
    assert refused(kernel, state(3), b"offline") == "EINVAL"
    kernel.write(online(3), b"0")
    kernel.write(config(3), b"1")
    kernel.write(config(20), b"0")


def test_a_word_that_came_too_late_decides_the_next_time() -> None:
    """The word of a refused write to `state` is what `online` 1 does after the next offline."""
    kernel = boot("s390-lpar")
    assert refused(kernel, state(15), b"online_movable") == "EINVAL"
    assert text(kernel, zones(15)) == "DMA"
    kernel.write(state(15), b"offline")
    kernel.write(online(15), b"1")
    assert text(kernel, zones(15)) == "Movable"


def test_a_word_that_came_too_late_is_forgotten_with_the_next_word_or_the_block() -> None:
    kernel = boot("s390-lpar")
    for path, data in ((state(15), b"online"), (config(15), b"0")):
        assert refused(kernel, state(15), b"online_movable") == "EINVAL"
        kernel.write(online(15), b"0")
        kernel.write(path, data)
        kernel.write(config(15), b"1")
        kernel.write(online(15), b"0")
        kernel.write(online(15), b"1")
        assert text(kernel, zones(15)) == "Normal"


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
    path: str, data: bytes, answer: str
) -> None:
    kernel = boot("s390-lpar")
    assert refused(kernel, path, data) == answer
    assert not kernel.take_changes()
    assert rows(kernel) == AT_BOOT


@pytest.mark.parametrize("data", [b"0", b"n\n", b"N", b"off", b"Of", b"f", b"0x\0", b"no way"])
def test_a_boolean_is_its_first_characters(data: bytes) -> None:
    kernel = boot("s390-lpar")
    kernel.write(online(3), data)
    assert text(kernel, state(3)) == "offline"
    assert text(kernel, online(3)) == "0"


def test_an_empty_write_reaches_no_attribute() -> None:
    kernel = boot("s390-lpar")
    kernel.write(state(3), b"")
    assert rows(kernel) == AT_BOOT


def test_memmap_on_memory_where_the_kernel_does_not_support_it() -> None:
    kernel = boot("s390-zvm")
    assert text(kernel, memmap(20)) == "0"
    assert refused(kernel, memmap(20), b"1") == "ENOTSUP"
    kernel.write(memmap(20), b"0")


def test_the_files_of_a_block() -> None:
    kernel = boot("s390-zvm")
    directory = f"{MEMORY}/memory10"
    files = ["online", "phys_device", "phys_index", "removable", "state", "valid_zones"]
    assert sorted(kernel.listdir(directory)) == sorted([*files, "node0"])
    shown = [text(kernel, f"{directory}/{name}") for name in files]
    assert shown == ["1", "160", "0000000a", "1", "online", "Normal"]
    assert kernel.readlink(f"{directory}/node0") == "../../node/node0"
    assert kernel.readlink(f"{NODE}/node0/memory10") == "../../memory/memory10"
    assert kernel.read(f"{directory}/node0/memory10/state") == b"online\n"
    assert kernel.mode(f"{directory}/state") == 0o644
    assert kernel.mode(f"{directory}/phys_index") == 0o444


def test_a_deconfigured_block_has_no_directory_and_no_link() -> None:
    kernel = boot("s390-lpar")
    kernel.write(config(16), b"1")
    assert kernel.is_dir(f"{MEMORY}/memory16")
    assert "memory16" in kernel.listdir(f"{NODE}/node0")
    kernel.write(config(16), b"0")
    assert kernel.kind(f"{MEMORY}/memory16") is None
    assert "memory16" not in kernel.listdir(f"{NODE}/node0")
    assert f"memory{16}" in kernel.listdir(FIRMWARE)


def test_a_machine_without_numa_has_no_nodes() -> None:
    kernel = boot({"block_size": 128 * MIB, "blocks": [{"range": [0, 3], "has_node": False}]})
    assert kernel.kind(NODE) is None
    assert kernel.kind("sys/firmware") is None
    assert kernel.kind(PARAMETERS) is None
    assert "node0" not in kernel.listdir(f"{MEMORY}/memory0")


def test_online_chooses_the_zone_whose_span_the_block_is_in() -> None:
    kernel = boot("x86-two-nodes")
    # Node 1: Normal to 119, Movable 120 to 127, offline from 128.
    assert text(kernel, zones(128)) == "Normal Movable"
    kernel.write(state(135), b"online_movable")
    assert text(kernel, zones(128)) == text(kernel, zones(134)) == "Movable Normal"
    kernel.write(state(130), b"online")
    assert text(kernel, zones(130)) == "Movable"
    kernel.write(state(135), b"offline")
    assert text(kernel, zones(129)) == "Movable Normal"
    assert text(kernel, zones(131)) == "Normal Movable"
    kernel.write(state(134), b"online_kernel")
    # Block 129 is now within both spans, so that the kernel zone is chosen again.
    assert text(kernel, zones(129)) == "Normal Movable"


def test_the_kernel_zone_is_the_lowest_whose_span_meets_the_block() -> None:
    kernel = boot("x86-two-nodes")
    assert text(kernel, zones(0)) == "none"
    kernel.write(state(12), b"offline")
    assert text(kernel, zones(12)) == "DMA32 Movable"
    kernel.write(state(12), b"online_kernel")
    assert text(kernel, zones(12)) == "DMA32"
    kernel.write(state(23), b"offline")
    # The edge of DMA32 has moved away from the block.
    assert text(kernel, zones(23)) == "Normal Movable"
    kernel.write(state(23), b"online_movable")
    assert text(kernel, zones(23)) == "Movable"


def test_the_span_shrinks_past_every_offline_block_at_its_edge() -> None:
    kernel = boot("x86-dimm-slots")
    for block in (37, 38, 32, 33):
        kernel.write(state(block), b"offline")
    kernel.write(state(39), b"offline")
    assert kernel.live.spans[0, 5] == (34, 36)
    for block in (34, 35, 36):
        kernel.write(state(block), b"offline")
    assert (0, 5) not in kernel.live.spans
    assert text(kernel, zones(35)) == "Normal Movable"


def test_movable_node_prefers_movable() -> None:
    kernel = boot(
        {
            "block_size": 128 * MIB,
            "contiguous_zones": True,
            "movable_node": True,
            "blocks": [{"range": [0, 3]}, {"range": [4, 7], "state": "offline"}],
        }
    )
    assert text(kernel, zones(6)) == "Movable Normal"
    kernel.write(state(6), b"online")
    assert text(kernel, zones(6)) == "Movable"


def test_the_auto_movable_policy_keeps_its_ratio() -> None:
    kernel = boot(
        {
            "block_size": 128 * MIB,
            "contiguous_zones": True,
            "memmap_param": "N",
            "online_policy": "auto-movable",
            "auto_movable_ratio": 100,
            "blocks": [{"range": [0, 1]}, {"range": [2, 7], "state": "offline"}],
        }
    )
    for block in (2, 3, 4):
        kernel.write(state(block), b"online")
    assert [text(kernel, zones(block)) for block in (2, 3, 4)] == ["Movable", "Movable", "Normal"]
    assert text(kernel, zones(7)) == "Normal Movable"
    kernel.take_changes()
    kernel.write(f"{PARAMETERS}/auto_movable_ratio", b"301")
    assert text(kernel, zones(7)) == "Movable Normal"
    assert zones(7) in kernel.take_changes().paths


def test_simple_zones_are_the_first_of_off_zones() -> None:
    kernel = boot(
        {
            "block_size": 128 * MIB,
            "blocks": [
                {"range": [0, 3]},
                {"range": [4, 9], "state": "offline", "off_zones": "DMA"},
            ],
        }
    )
    for block, word in ((4, b"online"), (5, b"online_kernel"), (6, b"online_movable")):
        kernel.write(state(block), word)
    assert [text(kernel, zones(block)) for block in (4, 5, 6, 7)] == [
        "DMA",
        "Normal",
        "Movable",
        "DMA",
    ]


def test_a_block_in_several_zones_or_with_holes_cannot_go_offline() -> None:
    kernel = boot("x86-two-nodes")
    assert refused(kernel, state(0), b"offline") == "EINVAL"
    holes = boot({"block_size": 128 * MIB, "blocks": [{"range": [0, 3], "holes": True}]})
    assert refused(holes, online(2), b"0") == "EINVAL"


def test_auto_online_blocks_sets_an_added_block_online() -> None:
    kernel = boot("s390-lpar")
    kernel.write(f"{MEMORY}/auto_online_blocks", b"online_movable\n")
    kernel.write(config(16), b"1")
    assert text(kernel, state(16)) == "online"
    assert text(kernel, zones(16)) == "Movable"
    assert refused(kernel, state(16), b"online") == "EINVAL"
    kernel.set_fault("online", 17, Fault("ENOMEM"))
    kernel.write(config(17), b"1")
    assert text(kernel, state(17)) == "offline"


def test_configure_stops_when_struct_pages_run_out() -> None:
    kernel = boot("s390-imbalance")
    size = 128 * MIB
    free = 4 * size - 4 * size // 64 - 256 * MIB
    expected = free // (size // 64)
    pool = kernel.live.pool
    for block in range(4, 516):
        kernel.write(memmap(block), b"0")
    done = 0
    for block in range(4, 516):
        try:
            kernel.write(config(block), b"1")
        except OSError as error:
            assert error.errno == errno.ENOMEM
            break
        done += 1
    assert done == expected == 124
    # What the failed one took from the hypervisor was given back.
    assert kernel.live.pool == pool - done * size
    assert kernel.kind(f"{MEMORY}/memory{4 + done}") is None


@pytest.mark.parametrize(("word", "most"), [(b"online_movable", 124), (b"online_kernel", 512)])
def test_struct_pages_do_not_come_out_of_zone_movable(word: bytes, most: int) -> None:
    kernel = boot("s390-imbalance")
    done = 0
    for block in range(4, 516):
        kernel.write(memmap(block), b"0")
        try:
            kernel.write(config(block), b"1")
        except OSError as error:
            assert error.errno == errno.ENOMEM
            break
        kernel.write(state(block), word)
        done += 1
    assert done == most


def test_configure_with_memmap_on_memory_never_runs_out() -> None:
    kernel = boot("s390-imbalance")
    for block in range(4, 516):
        kernel.write(config(block), b"1")
    assert kernel.live.pool == 0
    assert all(kernel.present(block) for block in range(516))


def test_memory_in_use_cannot_go_offline() -> None:
    kernel = boot("s390-lpar")
    done = 0
    for block in range(15, -1, -1):
        try:
            kernel.write(state(block), b"offline")
        except OSError as error:
            assert error.errno == errno.EBUSY
            break
        done += 1
    # 2 GiB less 32 MiB of struct pages and 256 MiB in use.
    assert done == (2048 - 32 - 256) // 128
    assert kernel.free_memory() >= 0


def test_the_hypervisor_has_no_more() -> None:
    blocks = [{"range": [0, 3]}, {"range": [4, 7], "config": False}]
    kernel = boot(
        {"block_size": 128 * MIB, "firmware": True, "hypervisor": 128 * MIB, "blocks": blocks}
    )
    kernel.write(config(4), b"1")
    assert refused(kernel, config(5), b"1") == "EIO"
    kernel.write(state(0), b"offline")
    assert refused(kernel, config(5), b"1") == "EIO"
    kernel.write(config(0), b"0")
    kernel.write(config(5), b"1")
    assert kernel.live.pool == 0


def test_an_older_s390_kernel_takes_storage_at_online_and_gives_it_back_at_offline() -> None:
    kernel = boot("s390-pre-6.19")
    assert kernel.kind(FIRMWARE) is None
    assert text(kernel, state(20)) == "offline"
    pool, size = kernel.live.pool, 256 * MIB
    assert pool == 16 * size
    kernel.set_fault("online", 20, Fault("ENOMEM", 1))
    assert refused(kernel, state(20), b"online") == "ENOMEM"
    assert kernel.live.pool == pool
    kernel.write(state(20), b"online")
    assert kernel.live.pool == pool - size
    kernel.write(state(15), b"offline")
    assert kernel.live.pool == pool


def test_faults_happen_always_or_so_many_times() -> None:
    kernel = boot("s390-lpar")
    kernel.set_fault("offline", 3, Fault("EBUSY", 2))
    kernel.set_fault("deconfig", 4, Fault("EIO"))
    assert [refused(kernel, state(3), b"offline") for _ in range(2)] == ["EBUSY", "EBUSY"]
    kernel.write(state(3), b"offline")
    kernel.write(state(4), b"offline")
    assert [refused(kernel, config(4), b"0") for _ in range(3)] == ["EIO"] * 3
    kernel.set_fault("deconfig", 4, None)
    kernel.write(config(4), b"0")


def test_delays_belong_to_transitions_that_happen() -> None:
    kernel = boot("s390-lpar")
    kernel.set_delay("offline", 3, 1.5)
    kernel.set_delay("config", 16, 1.0)
    kernel.set_delay("online", 16, 0.25)
    assert kernel.delay(state(3), b"offline\n") == 1.5
    assert kernel.meanwhile(state(3), b"offline\n") == {state(3): b"going-offline\n"}
    assert kernel.delay(state(3), b"online\n") == 0.0
    assert kernel.delay(state(3), b"nonsense") == 0.0
    assert kernel.delay(config(16), b"1") == 1.0
    kernel.write(f"{MEMORY}/auto_online_blocks", b"online")
    assert kernel.delay(config(16), b"1") == 1.25
    assert rows(kernel) == AT_BOOT


def test_every_change_emits_its_uevent() -> None:
    kernel = boot("s390-lpar")
    heard: list[tuple[str, str]] = []
    kernel.listeners.append(lambda action, devpath: heard.append((action, devpath)))
    for path, data in (
        (config(16), b"1"),
        (state(16), b"online"),
        (state(16), b"offline"),
        (config(16), b"0"),
        (config(16), b"0"),
    ):
        kernel.write(path, data)
    device = "/devices/system/memory/memory16"
    assert heard == [(action, device) for action in ("add", "online", "offline", "remove")]


def test_nodes_with_memory() -> None:
    kernel = boot("x86-two-nodes")
    lists = [f"{NODE}/{name}" for name in ("online", "has_memory", "has_normal_memory")]
    assert [text(kernel, path) for path in lists] == ["0-1"] * 3
    for block in range(72, 120):
        kernel.set_fault("offline", block, None)
        kernel.write(state(block), b"offline")
    assert [text(kernel, path) for path in lists] == ["0-1", "0-1", "0"]
    for block in range(120, 128):
        kernel.write(state(block), b"offline")
    assert [text(kernel, path) for path in lists] == ["0-1", "0", "0"]


def test_a_reboot_leaves_what_was_there_at_boot_and_keeps_the_faults() -> None:
    kernel, fresh = boot("s390-lpar"), boot("s390-lpar")
    kernel.set_fault("offline", 7, Fault("EBUSY"))
    kernel.write(f"{MEMORY}/auto_online_blocks", b"online")
    kernel.write(config(16), b"1")
    kernel.write(state(5), b"offline")
    kernel.write(config(5), b"0")
    kernel.write(memmap(5), b"1")
    kernel.take_changes()
    kernel.reboot()
    changes = kernel.take_changes()
    assert set(changes.blocks) == {5, 16}
    assert rows(kernel) == AT_BOOT
    assert kernel.place == fresh.place
    assert kernel.flags == fresh.flags
    assert text(kernel, f"{MEMORY}/auto_online_blocks") == "offline"
    assert refused(kernel, state(7), b"offline") == "EBUSY"
