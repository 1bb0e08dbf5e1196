"""Captures of real guests (tests/memsim/captures): the profiles made from them, and what a capture
tells of memory that came after the boot."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from memsim.description import auto_online
from memsim.from_capture import differing, like
from memsim.machine import Machine
from memsim.profile import boot, load
from memsim.sysfs import MEMORY, Sysfs

CAPTURES = Path(__file__).with_name("captures")


def captured(name: str) -> Path:
    return CAPTURES / f"{name}.tar.gz"


@pytest.mark.parametrize("name", ["x86-laptop-7.2", "riscv64-virt"])
def test_a_profile_is_the_machine_that_was_captured(name: str) -> None:
    """`memsim capture` of `memsim boot --arch ARCH --memory SIZE --auto-online online`. In no file
    are the memory in use, and which blocks have pages that stay."""
    assert differing(boot(name), captured(name)) == ()
    kernel, left = like(captured(name))
    assert left == ()

    def known(machine: Machine) -> Machine:
        return replace(machine, faults={}, used=0)

    assert known(load(name)) == known(kernel.machine)


def test_a_file_that_differs_is_found() -> None:
    kernel = boot("riscv64-virt")
    kernel.offline(20)
    found = differing(kernel, captured("riscv64-virt"))
    assert sorted(path.rpartition("/")[2] for path in found) == ["online", "state", "valid_zones"]
    assert all("/memory20/" in path for path in found)


def test_a_dimm_of_arm64_goes_offline_and_memory_of_the_boot_stays() -> None:
    """Captured with 1 GiB at boot in blocks 8 to 15, a DIMM in 16 to 19, virtio-mem in 20 and 21,
    all online."""
    sysfs = Sysfs(like(captured("arm64-dimm"))[0])
    refused = {}
    for block in (8, 14, 16, 19, 20, 21):
        try:
            sysfs.write(f"{MEMORY}/memory{block}/state", b"offline")
        except OSError as error:
            refused[block] = error.errno
    assert refused == {8: errno.EPERM, 14: errno.EPERM}


@pytest.mark.parametrize(
    ("release", "word"),
    [
        (None, "offline"),
        ("4.5.0-rc1", None),
        ("4.18.0-80.el8.x86_64", "offline"),
        ("6.1.0-50-cloud-amd64", "offline"),
        ("6.12.117+deb13-cloud-arm64", "online"),
        ("7.2.13+deb14-powerpc64le", "online"),
        ("7.2.13", "offline"),
    ],
)
def test_added_memory_is_online_as_the_kernel_of_the_release_is_configured(
    release: str | None, word: str | None
) -> None:
    assert auto_online(release) == word
    sysfs = Sysfs(boot({"block_size": 1 << 27, "release": release, "blocks": [{"range": [0, 3]}]}))
    assert (sysfs.kind(f"{MEMORY}/auto_online_blocks") is None) == (word is None)
    assert sysfs.kernel.state.auto_online_blocks == word
