"""The judge: what it compares, what explains a difference, and how it makes writes fewer.

Here a second simulated machine stands for the real kernel; `tests/vm` has real ones.
"""

import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from commands import Command
from guest.judge.comparison import Answer, Comparison, Disagreement, attempt, compare, condition
from guest.judge.real import GuestSnapshot, captured, given, unknown
from guest.judge.replay import ENDLESS, MEMORY
from guest.judge.shorten import TRIES, script, shortened
from guest.judge.writes import JudgedWrite, block_writes, firmware_writes
from memsim.machine import ENDLESS as ENDLESS_FAULT
from memsim.machine import Fault
from memsim.profile import boot
from memsim.sysfs import Sysfs
from simulated import s390, x86

MACHINE: dict[str, Any] = x86(4, 8)


def state(block: int) -> str:
    return f"{MEMORY}/memory{block}/state"


def answered(sysfs: Sysfs, wanted: Sequence[JudgedWrite]) -> Iterator[Answer]:
    """What a kernel would answer that is like this machine."""
    heard: list[str] = []
    sysfs.listeners.append(lambda action, path: heard.append(f"{action}@{path}"))
    before: dict[str, str] = {}
    for path, text in [("", ""), *wanted]:
        failed = attempt(sysfs, path, text) if path else ""
        after = condition(sysfs)
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        yield Answer(failed, changed | dict.fromkeys(before.keys() - after.keys()), [*heard])
        heard.clear()
        before = after


def judged(real: Sysfs, wanted: Sequence[JudgedWrite]) -> Comparison:
    return compare(Sysfs(boot(MACHINE)), wanted, list(answered(real, wanted)))


def test_the_same_kernel_agrees_with_every_write() -> None:
    wanted = block_writes(1, 400, range(4), range(4, 12))
    tally = judged(Sysfs(boot(MACHINE)), wanted)
    assert (tally.agreed, tally.writes) == (400, 400)


@pytest.mark.parametrize("fault", ["EBUSY", ENDLESS_FAULT])
def test_a_page_explains_that_a_block_does_not_go_offline(fault: str) -> None:
    real = Sysfs(boot(MACHINE))
    real.kernel.set_fault("offline", 3, Fault(fault))
    answers = list(answered(real, [(state(3), "offline"), (state(2), "offline")]))
    if fault == ENDLESS_FAULT:
        # The real kernel's write has no errno: replay.py says this of it.
        assert answers[1].failed == "EINTR"
        answers[1] = answers[1]._replace(failed=ENDLESS)
    tally = compare(Sysfs(boot(MACHINE)), [(state(3), "offline"), (state(2), "offline")], answers)
    assert (tally.agreed, tally.by_page, tally.endless) == (
        (1, 1, 0) if fault == "EBUSY" else (1, 0, 1)
    )
    assert not tally.unexplained


def test_a_page_explains_nothing_where_no_block_goes_offline() -> None:
    wanted = [(state(3), "online")]
    answers = list(answered(Sysfs(boot(MACHINE)), wanted))
    answers[1] = answers[1]._replace(failed="EBUSY")
    (difference,) = compare(Sysfs(boot(MACHINE)), wanted, answers).unexplained
    assert difference.wrong == ("EBUSY, simulated EINVAL",)


def test_a_fault_of_the_machine_is_there_after_one_that_a_page_explains() -> None:
    sysfs = Sysfs(boot(MACHINE | {"faults": {"offline": {"3": "EPERM"}}}))
    answers = [Answer("", condition(sysfs), []), Answer("EBUSY", {}, []), Answer("EPERM", {}, [])]
    tally = compare(sysfs, [(state(3), "offline")] * 2, answers)
    assert (tally.by_page, tally.agreed, tally.unexplained) == (1, 1, [])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"failed": "EIO"}, "EIO, simulated success"),
        ({"failed": "4096 bytes"}, "4096 bytes, simulated success"),
        ({"uevents": []}, "uevents [], simulated ['offline@/devices/system/memory/memory3']"),
        ({"changes": {}}, f"{MEMORY}/memory3/online is '1\\n', simulated '0\\n'"),
    ],
)
def test_every_answer_attribute_and_uevent_is_compared(other: dict[str, Any], said: str) -> None:
    wanted = [(state(3), "offline")]
    answers = list(answered(Sysfs(boot(MACHINE)), wanted))
    answers[1] = answers[1]._replace(**other)
    (difference,) = compare(Sysfs(boot(MACHINE)), wanted, answers).unexplained
    assert said in difference.wrong
    assert str(difference).startswith(f"write 1: 'offline' to {state(3)}: ")


@pytest.mark.parametrize("page", [4096, 65536])
def test_long_texts_are_longer_than_a_page_of_the_kernel(page: int) -> None:
    wanted = block_writes(1, 2000, range(4), range(4, 12), page)
    longest = {text for _, text in wanted if len(text) > 100}
    assert {text[0] for text in longest} == {"x", "o", "1"}
    assert all(page < len(text) < 2 * page for text in longest)
    sysfs = Sysfs(boot(MACHINE | {"page_size": page}))
    assert attempt(sysfs, f"{MEMORY}/memory4/online", "1" * (page + 1)) == f"{page} bytes"


def test_the_same_seed_makes_the_same_writes() -> None:
    assert block_writes(1, 50, [0], [1]) == block_writes(1, 50, [0], [1])
    assert block_writes(1, 50, [0], [1]) != block_writes(2, 50, [0], [1])
    assert firmware_writes(1, 50, [0], [1]) == firmware_writes(1, 50, [0], [1])


def seen(sysfs: Sysfs, *more: str) -> GuestSnapshot:
    """What a guest would show that is like this machine, with more files."""
    files, links = dict.fromkeys(more, "0\n"), {}

    def walk(path: str) -> None:
        for name, entry in sysfs.entries(path):
            if entry.kind == "dir":
                walk(f"{path}/{name}")
            elif entry.kind == "link" and name != "subsystem":
                links[f"/{path}/{name}"] = entry.target
            elif entry.kind == "file" and name != "uevent":
                files[f"/{path}/{name}"] = entry.content.decode()

    walk("sys")
    return GuestSnapshot(files, links)


IOMEM = """\
00001000-1effffff : System RAM
  01000000-01ffffff : Kernel code
40000000-5fffffff : System RAM (kmem)
"""


def test_a_machine_like_the_guest_has_its_holes_and_its_page_size() -> None:
    shown = seen(Sysfs(boot(MACHINE)))
    shown.files["/proc/iomem"] = IOMEM
    sysfs = captured(shown, 65536)
    assert sysfs.kernel.machine.page_size == 65536
    wanted = [(state(block), "offline") for block in range(4)]
    assert [attempt(sysfs, *each) for each in wanted] == ["EINVAL", "", "", "EINVAL"]


def test_arm64_keeps_memory_of_the_boot() -> None:
    shown = seen(Sysfs(boot(MACHINE | {"blocks": [{"range": [0, 9]}]})))
    shown.files["/proc/iomem"] = IOMEM.replace("1000-1eff", "0000-3fff")
    shown.files["/proc/sys/kernel/arch"] = "aarch64\n"
    sysfs = captured(shown)
    assert attempt(sysfs, state(3), "offline") == "EPERM"
    # Memory of a device has come later.
    assert attempt(sysfs, state(9), "offline") == ""


@pytest.mark.parametrize(
    ("arch", "release", "said"),
    [
        ("aarch64", "7.0.9-arm64", ""),
        ("aarch64", "7.1.0-arm64", "EPERM"),
        ("x86_64", "7.2.0-amd64", ""),
    ],
)
def test_arm64_keeps_memory_with_its_own_struct_pages_since_linux_7_1(
    arch: str, release: str, said: str
) -> None:
    shown = seen(Sysfs(boot(MACHINE | {"memmap_param": "Y"})))
    shown.files["/proc/iomem"] = IOMEM.replace("kmem", "virtio_mem")
    shown.files["/proc/sys/kernel/arch"] = f"{arch}\n"
    shown.files["/proc/sys/kernel/osrelease"] = f"{release}\n"
    sysfs = captured(shown)
    for block, expected in ((6, said), (8, "")):  # of a DIMM, and of virtio-mem
        assert attempt(sysfs, state(block), "online_movable") == ""
        assert attempt(sysfs, state(block), "offline") == expected


def test_files_that_only_the_real_kernel_has_are_told() -> None:
    sysfs = Sysfs(boot(MACHINE))
    shown = seen(sysfs, f"{MEMORY}/memory3/colour", f"{MEMORY}/memory4/colour")
    (difference,) = unknown(sysfs, shown)
    assert str(difference) == f"before: only the real kernel has {MEMORY}/memoryN/colour"


def test_writes_go_to_added_blocks_and_on_s390_to_what_configures_them() -> None:
    shown = seen(Sysfs(boot(MACHINE)))
    assert given(shown, range(4), 3, 40, 4096) == block_writes(3, 40, range(4), range(4, 12))
    shown = seen(Sysfs(boot(s390(4, 8))))
    assert given(shown, range(4), 3, 40, 4096) == firmware_writes(3, 40, range(4), range(4, 12))


def test_writes_are_made_fewer_until_each_is_needed() -> None:
    wanted = [(state(number), "offline") for number in range(100)]
    needed = [wanted[10], wanted[60], wanted[80]]
    tried = []

    def differs(some: Sequence[JudgedWrite]) -> Comparison:
        tried.append(len(some))
        wrong = Disagreement(len(some), *some[-1], ("EIO, simulated success",))
        return Comparison(unexplained=[wrong] if all(each in some for each in needed) else [])

    found = Disagreement(81, *wanted[80], ("EIO, simulated success",))
    fewer = shortened(wanted, found, differs)
    assert all(each in fewer for each in needed)
    assert len(fewer) < 30
    assert len(tried) <= TRIES
    assert shortened(wanted, found, differs, tries=400) == needed


def test_another_difference_does_not_stand_for_the_one_that_was_found() -> None:
    wanted = [(state(block), "offline") for block in range(8)]

    def differs(some: Sequence[JudgedWrite]) -> Comparison:
        return Comparison(unexplained=[Disagreement(1, *some[0], ("ENOMEM, simulated success",))])

    found = Disagreement(8, *wanted[7], ("EIO, simulated success",))
    assert shortened(wanted, found, differs) == wanted


def test_a_write_that_does_not_return_is_ended_by_a_signal() -> None:
    program = (
        "import os, signal; from guest.judge import replay\n"
        "reading, writing = os.pipe(); os.set_blocking(writing, False)\n"
        "try:\n"
        "    while True: os.write(writing, bytes(4096))\n"
        "except BlockingIOError: os.set_blocking(writing, True)\n"
        "signal.signal(signal.SIGALRM, replay._late)\n"
        "print('begun', flush=True)\n"
        "print(replay.write(f'/proc/self/fd/{writing}', 'x'), flush=True)\n"
        "os.read(reading, 8192)\n"
        "os.kill(os.getpid(), signal.SIGALRM)\n"
        "print(repr(replay.write(f'/proc/self/fd/{writing}', 'x')))\n"
        "print(replay.write('/proc/self/fd/999', 'x'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stdout.readline() == b"begun\n"
        # Between the two it makes the write; a signal that comes before it is for no write.
        while not select.select([running.stdout], [], [], 0.05)[0]:
            running.send_signal(signal.SIGALRM)
        assert running.stdout.read().decode().splitlines() == [ENDLESS, "''", "ENOENT"]


def test_the_script_of_memsim_judge_makes_the_same_writes(tmp_path: Path) -> None:
    texts = ["online\n", "", "%s\\", "it's", "\0x\xff\n", "-n"]
    paths = [str(tmp_path / f"file{number}") for number in range(len(texts))]
    subprocess.run(["sh", "-ec", script(list(zip(paths, texts, strict=True)))], check=True)
    assert [Path(path).read_bytes().decode("latin-1") for path in paths] == texts


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--writes 0", "--writes: expected a number from 1 on, not 0"),
        ("--seed -1", "--seed: expected a number from 1 on, not -1"),
        ("--limit 0", "--limit: expected a number of seconds, not 0.0"),
        ("--limit nan", "--limit: expected a number of seconds, not nan"),
        ("--against-modules D", "option --against-modules needs --against"),
        ("--against /no/kernel", "cannot boot: /no/kernel: no such file to read"),
        ("--arch aarch64 --cxl 1G", "cannot boot: memsim boot has CXL memory on x86_64 only"),
        ("--arch x86_64 --standby 1G", "option --standby is for s390x, not for x86_64"),
    ],
)
def test_memsim_judge_refuses_what_cannot_be_judged(memsim: Command, words: str, said: str) -> None:
    done = memsim("judge", *words.split())
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == f"memsim: {said}"


def test_help_names_no_option_that_a_judgement_has_not(memsim: Command) -> None:
    options = set(re.findall(r"--[a-z-]+", memsim("judge", "--help").stdout))
    assert {"--seed", "--against", "--dimm", "--cxl", "--kernel"} <= options
    assert not options & {"--kaslr", "--directory"}
