"""A kernel before Linux 5.8 says in `removable` which blocks it could set offline."""

from pathlib import Path

import pytest

from commands import Command
from memsim.errors import MachineError
from memsim.kernel import Kernel
from memsim.machine import Fault
from memsim.profile import boot, from_tree
from memsim.sysfs import MEMORY, Sysfs
from simulated import Make, kernel_of, tree_at, tree_of, write, x86

OLD = "4.18.0-80.el8.x86_64"


def removable(machine: Path) -> str:
    """That of each block, as a word."""
    blocks = sorted((machine / MEMORY).glob("memory*"), key=lambda one: int(one.name[6:]))
    return "".join((block / "removable").read_text().strip() for block in blocks)


def test_a_page_that_stays_is_seen_and_keeps_the_block(machine: Make, memsim: Command) -> None:
    blocks = [{"range": [0, 5]}, {"range": [6, 7], "removable": 0}]
    root = machine({**x86(release=OLD), "blocks": blocks})
    assert removable(root) == "11111100"
    memsim("fault", root, "--offline", "3=EBUSY", "--offline", "4=EBUSY:2", "--offline", "5=EIO")
    # Pages that move at the third try, and other errors, nobody sees before.
    assert removable(root) == "11101100"
    for number in (3, 7):
        with pytest.raises(OSError, match="busy"):
            write(root, f"{MEMORY}/memory{number}/state", "offline")
    memsim("fault", root, "--clear")
    assert removable(root) == "11111100"
    assert tree_at(root) == tree_of(kernel_of(root))


def test_a_block_that_is_offline_is_removable(machine: Make) -> None:
    blocks = [{"range": [0, 3]}, {"range": [4, 5], "state": "offline", "removable": 0}]
    root = machine({**x86(release=OLD), "blocks": blocks})
    assert removable(root) == "111111"
    write(root, f"{MEMORY}/memory4/state", "online")
    assert removable(root) == "111101"


@pytest.mark.parametrize("release", [None, "5.8.0", "6.19.0-rc1", "10.2"])
def test_removable_is_constant_in_later_releases(release: str | None, machine: Make) -> None:
    root = machine(x86(release=release, faults={"offline": {"2": "EBUSY"}}))
    assert removable(root) == "1" * 8
    assert (root / "proc/sys/kernel/osrelease").exists() is (release is not None)


@pytest.mark.parametrize("release", ["3.10.0-1160.el7", "4.18", "5.7.19"])
def test_each_earlier_release_judges(release: str) -> None:
    kernel = boot(x86(release=release))
    kernel.set_fault("offline", 2, Fault("EBUSY"))
    assert (kernel.removable(1), kernel.removable(2)) == (True, False)
    assert Sysfs(kernel).read("proc/sys/kernel/osrelease") == f"{release}\n".encode()


@pytest.mark.parametrize("release", ["", "4", "four", "4.18\n", "4.18 x", 4.18, "4.18" + "x" * 99])
def test_what_is_no_release_is_refused(release: object) -> None:
    with pytest.raises(MachineError, match="release"):
        boot(x86(release=release))


@pytest.mark.parametrize("name", ["case", "case.tar.gz"])
def test_a_machine_like_a_captured_one_has_its_release(
    name: str, machine: Make, memsim: Command, tmp_path: Path
) -> None:
    root = machine("x86-rhel8")
    assert memsim("capture", "-s", root, tmp_path / name).status == 0
    kernel: Kernel = from_tree(tmp_path / name)
    assert kernel.machine.release == OLD
    with pytest.raises(OSError, match="busy"):
        kernel.offline(63)
    assert kernel.offline(62)


def test_a_release_that_is_none_is_left_out(machine: Make, memsim: Command, tmp_path: Path) -> None:
    root = machine(x86(release=OLD))
    memsim("capture", "-s", root, tmp_path / "case")
    (tmp_path / "case/proc/sys/kernel/osrelease").write_bytes(b"\xff\0" * 9)
    assert from_tree(tmp_path / "case").machine.release is None
