"""The table of architectures: what memsim boot refuses, and what it starts QEMU with."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from commands import run_program
from guest.arch import ARCHES, RELEASES
from guest.hardware import Dimm, Hardware, command_line, too_old
from memsim_py.boot import boot_command
from memsim_py.guest_options import ONLY_STANDBY

MIB = 1 << 20
GIB = 1 << 30

OPTIONS = {name for parameter in boot_command.params for name in parameter.opts}


def refused(*arguments: str, cache: Path, qemu: str = "#!/bin/false\n") -> str:
    """What memsim boot says, where every QEMU is there and none ever starts."""
    programs = cache / "bin"
    programs.mkdir()
    for name in ("setpriv", *(arch.program for arch in ARCHES.values())):
        (programs / name).write_text(qemu)
        (programs / name).chmod(0o755)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    done = run_program("memsim", "boot", *arguments, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()[0].removeprefix("memsim: ")


@pytest.mark.parametrize("name", ARCHES)
def test_a_row_says_which_releases_there_are_and_why_not_the_others(name: str) -> None:
    arch = ARCHES[name]
    assert arch.name == name
    assert set(arch.flavours) <= set(RELEASES)
    assert set(arch.lacks) <= OPTIONS | set(RELEASES)
    assert set(RELEASES) - set(arch.flavours) == set(RELEASES) & set(arch.lacks)


@pytest.mark.parametrize(
    ("arch", "option", "reason"),
    [
        ("riscv64", "--dimm", "QEMU has no hot-plugged memory for riscv64"),
        ("riscv64", "--virtio-mem", "QEMU has no hot-plugged memory for riscv64"),
        ("ppc64le", "--virtio-mem", "neither QEMU nor Linux has virtio-mem for ppc64le"),
        ("aarch64", "--cxl", "memsim boot has CXL memory on x86_64 only"),
        ("s390x", "--dimm", "standby memory is what an s390 has in its place"),
    ],
)
def test_what_an_architecture_has_not_is_refused_with_the_reason(
    arch: str, option: str, reason: str, tmp_path: Path
) -> None:
    said = refused("--arch", arch, option, "512M", cache=tmp_path)
    assert said.startswith("cannot boot: ")
    assert said.endswith(reason)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--arch x86", "--arch: expected x86_64, aarch64, ppc64le, riscv64 or s390x, not x86"),
        ("--arch x86_64 --release buster", "--release: expected sid, trixie or bookworm, not bus"),
        ("--arch riscv64 --release bookworm", "cannot boot: Debian bookworm has no riscv64"),
        ("--release trixie", "cannot boot: memory is configured since Linux 6.19; that of trixie"),
        ("--arch x86_64 --kernel K --release sid", "say which kernel in one way: --kernel or --"),
        ("--arch x86_64 --modules M", "option --modules needs --kernel"),
        ("--arch x86_64 --kernel /no/kernel", "cannot boot: /no/kernel: no such file to read"),
        ("--arch x86_64 --profile s390-lpar", "option --profile is for s390x, not for x86_64"),
        ("--arch x86_64 --standby 0", "option --standby is for s390x, not for x86_64"),
        ("--arch x86_64 --nodes 0", "--nodes: expected a number from 1 on, not 0"),
        ("--nodes 2", "cannot boot: an s390 has one node"),
        ("--cpus 2", "cannot boot: the service element is played for one processor"),
        ("--arch x86_64 --dimm 100M", "cannot boot: a device brings whole memory blocks, which"),
        ("--arch x86_64 --dimm 0", "cannot boot: a device brings whole memory blocks, which are"),
        ("--arch ppc64le --dimm 128M", "cannot boot: a device brings whole memory blocks, which"),
        ("--arch x86_64 --memory 1G --nodes 3", "cannot boot: each node has whole memory blocks"),
        ("--arch x86_64 --directory /no/parent/x", "/no/parent/x: there is no directory /no/par"),
        ("--arch x86_64", "cannot boot: there is no x86_64 kernel here: memsim boot --arch x86_64"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(
    words: str, said: str, tmp_path: Path
) -> None:
    assert refused(*words.split(), cache=tmp_path).startswith(said)


def test_every_option_for_standby_memory_is_refused_elsewhere() -> None:
    only = {name for name in OPTIONS if name in ONLY_STANDBY}
    assert only == set(ONLY_STANDBY)


def test_a_qemu_that_is_too_old_for_cxl_says_so(tmp_path: Path) -> None:
    qemu = "#!/bin/sh\necho 'QEMU emulator version 8.0.9 (Debian)'\n"
    said = refused("--arch", "x86_64", "--cxl", "1G", cache=tmp_path, qemu=qemu)
    assert said == (
        "cannot boot: CXL memory needs QEMU 8.1 or later; this is QEMU emulator version 8.0.9"
    )


def test_a_qemu_that_is_new_enough_for_cxl_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / ARCHES["x86_64"].program
    qemu.write_text("#!/bin/sh\necho 'QEMU emulator version 10.0.2 (Debian)'\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert too_old(ARCHES["x86_64"], Hardware((GIB,), cxl=GIB)) is None
    assert too_old(ARCHES["x86_64"], Hardware((GIB,))) is None


def line(name: str, hardware: Hardware, accelerator: str = "tcg") -> str:
    """QEMU's command line, as text."""
    found = command_line(ARCHES[name], hardware, accelerator)
    return " ".join((found.program, *found.arguments))


FULL = Hardware(
    nodes=(GIB, 512 * MIB),
    dimms=(Dimm("dimm0", 512 * MIB), Dimm("dimm1", 256 * MIB, 1)),
    virtio_mem=256 * MIB,
    cpus=2,
)


def test_the_command_line_has_each_node_dimm_and_device() -> None:
    found = line("x86_64", FULL)
    for words in (
        "qemu-system-x86_64 -M q35 -cpu max,la57=off -accel tcg -smp 2 -m 1536M,slots=18,maxmem=",
        "memory-backend-ram,id=node1,size=536870912 -numa node,nodeid=1,memdev=node1",
        "id=ram-dimm1,size=268435456 -device pc-dimm,id=dimm1,memdev=ram-dimm1,node=1",
        "virtio-mem-pci,id=virtio-mem,memdev=ram-virtio-mem,node=0,requested-size=268435456",
        "-device virtserialport,nr=1,chardev=agent,name=agent -serial chardev:console",
    ):
        assert words in found
    assert "cxl" not in found


def test_there_is_room_for_all_that_can_be_plugged_in() -> None:
    found = line("x86_64", FULL)
    (most,) = (word for word in found.split() if "maxmem=" in word)
    used = sum(FULL.nodes) + sum(dimm.size for dimm in FULL.dimms) + FULL.virtio_mem
    assert int(most.partition("maxmem=")[2].rstrip("M")) * MIB >= used + 2 * FULL.room


def test_cxl_memory_has_a_window_a_port_and_a_processor_that_admits_no_hypervisor() -> None:
    found = line("x86_64", Hardware((GIB,), cxl=GIB))
    assert "-M q35,cxl=on,cxl-fmw.0.targets.0=cxl.0,cxl-fmw.0.size=4G" in found
    assert "-cpu max,la57=off,hypervisor=off" in found
    assert "cxl-type3,bus=cxl-port0,volatile-memdev=ram-cxl0,id=cxl0" in found


def test_kvm_runs_the_processor_of_this_machine() -> None:
    assert "-cpu host -accel kvm" in line("aarch64", Hardware((GIB,)), "kvm")


def test_memory_that_cannot_be_hot_plugged_has_no_slots() -> None:
    found = line("riscv64", Hardware((GIB,)))
    assert "-m 1024M " in found
    assert "slots" not in found


def test_an_architecture_with_firmware_gets_it() -> None:
    assert "-bios /usr/share/qemu-efi-aarch64/QEMU_EFI.fd" in line("aarch64", Hardware((GIB,)))
    other = replace(ARCHES["aarch64"], firmware=None)
    assert "-bios" not in command_line(other, Hardware((GIB,)), "tcg").arguments
