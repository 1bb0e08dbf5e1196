"""What kernels of other releases and architectures do otherwise; `memsim judge` compares it with
real ones."""

import signal
from pathlib import Path

import pytest

from commands import Command
from memsim.kernel import slots
from memsim.machine import ENDLESS, Fault
from memsim.profile import boot, from_tree
from memsim.sysfs import MEMORY, Sysfs
from paused import Paused
from safe_files.errno_names import name_of
from simulated import Make, conditions, make, tree_of, x86

GIB = 1 << 30


def attempt(sysfs: Sysfs, path: str, text: str) -> str:
    """Write; the name of the errno, or "" for success."""
    try:
        sysfs.write(f"{MEMORY}/{path}", text.encode())
    except OSError as error:
        return name_of(error.errno or 0) or ""
    return ""


# Linux 7.2: an offline that goes on until a signal comes


def endless(tmp_path: Path, block: int = 2) -> Path:
    return make(tmp_path / "m", x86(4, 0, faults={"offline": {str(block): ENDLESS}}))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_offline_that_does_not_return(
    number: signal.Signals, tmp_path: Path
) -> None:
    root = endless(tmp_path)
    before = conditions(root)
    chmem = Paused("-s", root, "-d", "-b", "1-2")
    assert chmem.until_it_stands_still() > 1e6
    assert (root / MEMORY / "memory2/state").read_text() == "going-offline\n"
    chmem.process.send_signal(number)
    _, err = chmem.finish()
    assert chmem.process.returncode == 128 + number
    assert "disable failed: interrupted" in err
    assert conditions(root) == before


def test_the_timeout_ends_an_offline_that_does_not_return(tmp_path: Path, chmem: Command) -> None:
    root = endless(tmp_path)
    done = chmem("-s", root, "-d", "-b", "2-3", "--timeout", "0.1", "--advice=always")
    assert done.status == 64
    failed, advice, *_ = done.stderr.splitlines()
    assert failed.endswith("disable failed: Interrupted system call")
    assert "lsmem --why says what the block holds" in advice
    assert [now.state for now in conditions(root).values()] == ["online"] * 3 + ["offline"]


def test_an_offline_without_end_is_one_fault_like_others(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", x86())
    memsim("fault", root, "--offline", f"2={ENDLESS}:1")
    assert "Fault of offline:       block 2, signal, 1 times" in memsim("show", root).stdout
    kernel = boot(x86())
    kernel.set_fault("offline", 2, Fault(ENDLESS, 1))
    sysfs = Sysfs(kernel)
    waited: list[float] = []
    kernel.wait = waited.append
    assert attempt(sysfs, "memory2/state", "offline") == "EINTR"
    assert attempt(sysfs, "memory2/state", "offline") == ""
    assert len(waited) == 1


# arm64: memory of the boot stays


def test_arm64_keeps_memory_of_the_boot_and_chmem_says_so(machine: Make, chmem: Command) -> None:
    root = machine("arm64-offset")
    done = chmem("-s", root, "-d", "-b", "8200", "--advice=always")
    assert done.status == 1
    failed, advice = done.stderr.splitlines()
    assert failed.endswith("disable failed: Operation not permitted")
    assert "the machine has booted on it, or it holds its own struct pages" in advice


def test_memory_of_arm64_with_its_own_struct_pages_stays(machine: Make, chmem: Command) -> None:
    added = {"range": [4, 7], "state": "offline", "memmap": True}
    blocks = [{"range": [0, 3]}, added, added | {"range": [8, 9], "memmap": False}]
    root = machine(x86(memmap_param="Y", memmap_stays=True, blocks=blocks))
    assert chmem("-s", root, "-e", "-b", "4-9").status == 0
    done = chmem("-s", root, "-d", "-b", "4-9", "--advice=always")
    assert done.status == 64
    assert "memory_hotplug.memmap_on_memory" in done.stderr
    states = [now.state for now in conditions(root).values()]
    assert states == ["online"] * 8 + ["offline"] * 2


def test_added_memory_of_arm64_goes_offline_again() -> None:
    sysfs = Sysfs(boot("arm64-offset"))
    assert attempt(sysfs, "memory8304/state", "online") == ""
    assert attempt(sysfs, "memory8304/state", "offline") == ""
    # A page that cannot be moved is found first (mm/memory_hotplug.c, offline_pages).
    sysfs.kernel.set_fault("offline", 8200, Fault("EBUSY"))
    assert attempt(sysfs, "memory8200/state", "offline") == "EBUSY"


# POWER: memory comes by DLPAR


@pytest.mark.parametrize("word", ["offline", "online_movable"])
def test_plugged_in_memory_of_power_comes_online_whatever_the_policy_says(word: str) -> None:
    sysfs = Sysfs(boot("ppc64-lpar"))
    assert attempt(sysfs, "auto_online_blocks", word) == ""
    slots.plug(sysfs.kernel, range(32, 34), None)
    zone = "Movable" if word == "online_movable" else "Normal"
    for block in (32, 33):
        assert sysfs.read(f"{MEMORY}/memory{block}/state") == b"online\n"
        assert sysfs.read(f"{MEMORY}/memory{block}/valid_zones").decode() == f"{zone}\n"


def test_what_is_probed_for_obeys_the_policy() -> None:
    sysfs = Sysfs(boot("ppc64-lpar"))
    assert attempt(sysfs, "probe", hex(8 * GIB)) == ""
    assert sysfs.read(f"{MEMORY}/memory32/state") == b"offline\n"


def test_memory_of_power_has_no_device(machine: Make, memsim: Command, lsmem: Command) -> None:
    root = machine("ppc64-lpar")
    assert memsim("plug", root, "--memory", "512M").stdout == "memory blocks 32-33\n"
    shown = lsmem("-s", root, "--raw", "-n", "--output", "BLOCK,STATE,DEVICE").stdout
    assert shown.splitlines()[0].split() == ["0-33", "online"]


def states(root: Path) -> dict[int, str]:
    """The state of each block that is there."""
    found = {number: now.state for number, now in conditions(root).items()}
    return {number: state for number, state in found.items() if state != "absent"}


def test_power_sets_memory_offline_that_is_to_go(machine: Make, memsim: Command) -> None:
    root = machine("ppc64-lpar")
    memsim("plug", root, "--memory", "1G")
    assert memsim("unplug", root, "--memory", "512M").stdout == "memory blocks 34-35\n"
    assert memsim("unplug", root, "--blocks", "33-33").stdout == "memory blocks 33-33\n"
    assert states(root) == dict.fromkeys(range(33), "online")


def test_power_gives_back_what_went_when_another_block_stays(
    machine: Make, memsim: Command
) -> None:
    root = machine("ppc64-lpar")
    memsim("plug", root, "--memory", "1G")
    memsim("fault", root, "--offline", "34=EBUSY")
    done = memsim("unplug", root, "--memory", "1G")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "memsim: block 34 cannot be set offline: Device or resource busy; nothing was taken out\n"
    )
    assert states(root) == dict.fromkeys(range(36), "online")


# Files of newer kernels


SOFT, HARD = "soft_offline_page", "hard_offline_page"
PAGES = (
    (HARD, 0x100005678, "", "Memory failure: 0x100005: {free buddy page: Recovered}"),
    (HARD, 0x100005000, "EHWPOISON", "Memory failure: 0x100005: {already poisoned page: Failed}"),
    (SOFT, 0x100005FFF, "", "Soft offline: 0x100005: page already poisoned"),
    (SOFT, 0x108005678, "", ""),
    (HARD, 0x108005678, "EHWPOISON", "Memory failure: 0x108005: {already poisoned page: Failed}"),
    (HARD, 0x110005678, "ENXIO", "Memory failure: 0x110005: memory outside kernel control"),
    (SOFT, 0x110005678, "EIO", ""),
    (HARD, 0xF100005678, "EBUSY", "Memory failure: 0xf100005: {non struct page pfn: Ignored}"),
    (SOFT, 0xF100005678, "ENXIO", ""),
)
"""Writes to a real Linux 7.2 whose blocks 32 and 33 were online and whose block 34 was offline; its
answers, and its log. tests/vm/test_poison.py makes them again."""


def test_pages_fail_and_are_taken_out_of_use_as_in_a_real_kernel() -> None:
    sysfs = Sysfs(boot(x86(34, 6, page_offline=True)))
    wanted = []
    for name, address, answer, line in PAGES:
        assert attempt(sysfs, name, hex(address)) == answer, (name, hex(address))
        wanted += [line.replace("{", "recovery action for ").rstrip("}")] if line else []
        assert sysfs.kernel.state.log == wanted
    assert sysfs.kernel.state.poisoned == (0x100005, 0x108005)
    for name in (SOFT, HARD):
        assert attempt(sysfs, name, "here") == "EINVAL"
        assert sysfs.entry(f"{MEMORY}/{name}").mode == 0o200


def test_linux_before_6_19_has_another_answer_where_no_memory_is() -> None:
    sysfs = Sysfs(boot(x86(page_offline=True, release="6.18.0")))
    assert attempt(sysfs, HARD, "0xf100005678") == "ENXIO"
    assert sysfs.kernel.state.log == ["Memory failure: 0xf100005: memory outside kernel control"]


def test_a_block_with_a_page_that_is_out_of_use_is_not_set_online_again() -> None:
    sysfs = Sysfs(boot(x86(page_offline=True)))
    assert attempt(sysfs, SOFT, hex(3 << 27)) == ""
    assert attempt(sysfs, "memory3/state", "offline") == ""
    assert attempt(sysfs, "memory3/state", "online") == "EHWPOISON"


def test_power_has_a_crash_hotplug_that_is_only_read() -> None:
    sysfs = Sysfs(boot("ppc64-lpar"))
    assert sysfs.read(f"{MEMORY}/crash_hotplug") == b"0\n"
    assert attempt(sysfs, "crash_hotplug", "1") == "EACCES"


@pytest.mark.parametrize("name", [SOFT, HARD, "crash_hotplug"])
def test_a_kernel_without_them_has_no_such_file(name: str) -> None:
    assert Sysfs(boot("x86-laptop")).kind(f"{MEMORY}/{name}") is None


def test_one_write_has_as_much_as_a_page() -> None:
    sysfs = Sysfs(boot("ppc64-lpar"))
    assert sysfs.write(f"{MEMORY}/memory5/online", b"1" * 70000) == 65536
    assert Sysfs(boot("x86-laptop")).write(f"{MEMORY}/memory5/online", b"1" * 70000) == 4096


def test_a_captured_machine_of_power_is_like_the_one_it_was_captured_from(
    memsim: Command, machine: Make, tmp_path: Path
) -> None:
    root = machine("ppc64-lpar")
    assert memsim("capture", "-s", root, tmp_path / "case").status == 0
    kernel = from_tree(tmp_path / "case")
    here = tree_of(Sysfs(kernel))
    there = tree_of(Sysfs(boot("ppc64-lpar")))
    assert {path: here.get(path) for path in there} == there
