"""chmem in the real kernel: report, status and machine agree, whatever happens."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from guest.channel import Ended
from guest.judge.replay import FIRMWARE, MEMORY
from guest.s390.lpar import Lpar
from guest.s390.parameters import Partition
from guest.s390.service_element import Answered, Refusal, Response, SclpCommand, StorageChange
from told import said_in
from vm.agreement import Conditions, check, conditions, prepare
from vm.lpar_machines import FUZZED, SCARCE
from vm.lpars import call

SUPPORT = Path(__file__).parents[2] / "support/vm"

ACTIONS = {
    "enable": "-e",
    "disable": "-d",
    "configure": "-c",
    "deconfigure": "-g",
    "reconfigure": "--reconfigure",
}
MIXED = {16: ("disabled", True), 17: ("offline", True), 18: ("online_movable", True)}
ALL_ONLINE = dict.fromkeys((16, 17, 18), ("online_movable", True))
ALL_DISABLED = dict.fromkeys((16, 17, 18), ("disabled", True))


def chmem(lpar: Lpar, options: str) -> Ended:
    """Run chmem --json."""
    return lpar.run(["chmem", "--json", *options.split()])


def checked(lpar: Lpar, options: str, before: Conditions) -> dict[str, Any]:
    """The report of a chmem with which status and machine agree."""
    return check(chmem(lpar, options), before, conditions(lpar))


def spared(lpar: Lpar, options: str, before: Conditions) -> dict[str, Any]:
    """As `checked`, of a chmem that the OOM killer takes last."""
    done = lpar.run(f"echo -900 > /proc/self/oom_score_adj; exec chmem --json {options}")
    return check(done, before, conditions(lpar))


@pytest.mark.parametrize("memmap", ["", "-m 0", "-m 1"])
@pytest.mark.parametrize("action", ACTIONS)
def test_every_request_does_what_it_says_or_nothing(lpar: Lpar, action: str, memmap: str) -> None:
    """Blocks that are not configured, offline and online, in one request."""
    needless = bool(memmap) and action in ("disable", "deconfigure")
    meaningless = needless or (action == "reconfigure" and not memmap)
    for nothing in ("", "--all-or-nothing"):
        before = prepare(lpar, MIXED)
        result = chmem(lpar, f"{ACTIONS[action]} {memmap} {nothing} -b 16-18")
        after = conditions(lpar)
        if meaningless:
            assert result.status == 1
            assert after == before
            continue
        check(result, before, after)
    before = prepare(lpar, {16: ("offline", True), 17: ("offline", False)})
    checked(
        lpar, f"{ACTIONS[action]} -b 16-17" + (" -m 0" if action == "reconfigure" else ""), before
    )


@pytest.mark.parametrize("action", ["disable", "reconfigure"])
@pytest.mark.parametrize("nothing", ["", "--all-or-nothing"])
def test_a_block_with_an_unmovable_page_stays_as_it_is(
    lpar: Lpar, action: str, nothing: str
) -> None:
    """Block 0 holds the kernel."""
    before = conditions(lpar)
    memmap = "-m 1" if action == "reconfigure" else ""
    report = checked(lpar, f"{ACTIONS[action]} {memmap} {nothing} -b 0", before)
    assert report["status"] == 1
    assert report["blocks"][0]["error"]["errno"] == "EBUSY"
    assert conditions(lpar) == before


@pytest.mark.parametrize(
    ("action", "refused", "nothing"),
    [
        ("enable", 16, ""),
        ("enable", 17, ""),
        ("enable", 18, ""),
        ("enable", 17, "--all-or-nothing"),
        ("configure", 17, ""),
        ("configure", 18, "--all-or-nothing"),
    ],
)
def test_storage_that_the_hypervisor_refuses_is_told_and_nothing_is_half_done(
    lpar: Lpar, action: str, refused: int, nothing: str
) -> None:
    before = prepare(lpar, ALL_DISABLED)
    lpar.element.refuse(StorageChange.ASSIGN, [refused + 1])
    report = checked(lpar, f"{ACTIONS[action]} {nothing} -b 16-18", before)
    assert report["status"] == (1 if nothing else 64)
    (error,) = [block["error"] for block in report["blocks"] if block["error"]]
    assert (error["step"], error["cause"], error["errno"]) == (
        "configure",
        "storage_refused",
        "EIO",
    )
    assert not conditions(lpar)[refused].configured
    lpar.element.permit()
    checked(lpar, f"{ACTIONS[action]} -b 16-18", conditions(lpar))
    assert all(conditions(lpar)[block].configured for block in (16, 17, 18))


@pytest.mark.parametrize("nothing", ["", "--all-or-nothing"])
def test_a_block_whose_storage_is_refused_once_is_brought_back(lpar: Lpar, nothing: str) -> None:
    before = prepare(lpar, ALL_ONLINE)
    lpar.element.refuse(StorageChange.ASSIGN, [18], Refusal(times=1))
    report = checked(lpar, f"--reconfigure -m 0 {nothing} -b 16-18", before)
    assert report["status"] == (1 if nothing else 64)
    assert conditions(lpar)[17] == before[17]


def test_a_block_whose_storage_is_gone_is_said_to_be_gone(lpar: Lpar) -> None:
    """The hypervisor gave the increment to somebody else meanwhile."""
    before = prepare(lpar, ALL_ONLINE)
    lpar.element.refuse(StorageChange.ASSIGN, [18])
    report = checked(lpar, "--reconfigure -m 0 -b 16-18", before)
    assert report["status"] == 64
    (lost,) = [block for block in report["blocks"] if block["not_undone"]]
    assert (lost["block"], lost["not_undone"]["cause"]) == (17, "storage_refused")
    assert not conditions(lpar)[17].configured


@pytest.mark.parametrize("request_", ["-d -b 16-18", "-g -b 16-18", "-d --all-or-nothing -b 16-18"])
def test_storage_that_the_hypervisor_does_not_take_back_is_given_up_and_told(
    lpar: Lpar, request_: str
) -> None:
    """The kernel only logs it (sclp_mem.c); assigning it again is no error."""
    state = "online_movable" if request_.startswith("-d") else "offline"
    before = prepare(lpar, dict.fromkeys((16, 17, 18), (state, True)))
    lpar.element.refuse(StorageChange.UNASSIGN, [17, 18, 19])
    report = checked(lpar, request_, before)
    assert (report["status"], report["storage_kept"]) == (64, [16, 17, 18])
    assert {17, 18, 19} <= lpar.element.assigned
    assert not any(conditions(lpar)[block].configured for block in (16, 17, 18))
    lpar.element.permit()
    assert checked(lpar, "-c -b 16-18", conditions(lpar))["status"] == 0


def test_storage_that_is_not_taken_back_does_not_hinder_a_block_that_gets_it_again(
    lpar: Lpar,
) -> None:
    before = prepare(lpar, ALL_ONLINE)
    lpar.element.refuse(StorageChange.UNASSIGN, [17, 18, 19])
    report = checked(lpar, "--reconfigure -m 0 --all-or-nothing -b 16-18", before)
    assert report["status"] == 0
    after = conditions(lpar)
    for block in (16, 17, 18):
        assert after[block] == before[block]._replace(memmap_on_memory=False)


@pytest.mark.parametrize(
    "name",
    [
        "force, increments of 256 MiB, a hole, added memory movable",
        "Y, a hole, standby not listed, KASLR, added memory for the kernel",
    ],
)
def test_a_refusal_is_told_on_machines_with_holes(
    name: str, boot: Callable[[Partition], Lpar]
) -> None:
    lpar = boot(FUZZED[name].partition)
    assert lpar.run("echo offline > /sys/devices/system/memory/auto_online_blocks").status == 0
    before = conditions(lpar)
    lpar.element.refuse(StorageChange.ASSIGN, [12])
    report = checked(lpar, "-c -b 10-12 --all-or-nothing", before)
    assert report["status"] == 1
    report = checked(lpar, "-c -b 10-12", conditions(lpar))
    assert report["status"] == 64
    (failed,) = [block for block in report["blocks"] if block["error"]]
    assert (failed["block"], failed["error"]["cause"]) == (11, "storage_refused")


def test_a_block_of_which_one_increment_is_refused_is_not_configured(
    boot: Callable[[Partition], Lpar],
) -> None:
    """16 increments of 8 MiB: those that were assigned stay so, and a retry asks for all."""
    lpar = boot(FUZZED["N, increments of 8 MiB, added memory online"].partition)
    before = conditions(lpar)
    lpar.element.refuse(StorageChange.ASSIGN, [10 * 16 + 5])
    report = checked(lpar, "-c -b 10", before)
    assert report["status"] == 1
    assert len(lpar.element.assigned) == len(lpar.partition.storage.assigned) + 15
    lpar.element.permit()
    lpar.element.log.clear()
    assert lpar.run("echo offline > /sys/devices/system/memory/auto_online_blocks").status == 0
    assert checked(lpar, "-c -b 10", before)["status"] == 0
    assert lpar.element.log == [
        Answered(SclpCommand.ASSIGN, number, Response.DONE if number == 165 else Response.ALREADY)
        for number in range(161, 177)
    ]


def test_memory_that_runs_out_is_told_and_nothing_is_half_done(
    boot: Callable[[Partition], Lpar],
) -> None:
    lpar = boot(SCARCE)
    call(lpar, "fill", leave=40)
    before = conditions(lpar)
    report = spared(lpar, "-c -m 0 -b 3-22 --all-or-nothing", before)
    assert report["status"] == 1
    errors = [block["error"] for block in report["blocks"] if block["error"]]
    assert {(error["step"], error["errno"]) for error in errors} == {("configure", "ENOMEM")}
    assert conditions(lpar) == before
    report = spared(lpar, "-c -m 0 -b 3-22", before)
    assert report["status"] == 64
    # Each attempt may cost a process.
    first, *_, last = [block["block"] for block in report["blocks"] if block["error"]]
    assert f"memory blocks {last + 1}-22: not tried" in " ".join(said_in(report))
    # Struct pages in the block itself leave only page tables to be paid for.
    call(lpar, "end_filling")
    before = conditions(lpar)
    assert spared(lpar, f"-c -m 1 -b {first}", before)["status"] == 0


@contextmanager
def beside(lpar: Lpar, script: str, *arguments: object) -> Iterator[None]:
    """One of the guest scripts runs meanwhile, from its first line until it is killed."""
    source = (SUPPORT / script).read_text()
    pid = call(lpar, "beside", program=source, arguments=[str(word) for word in arguments])
    try:
        yield
    finally:
        call(lpar, "end", pid=pid)


@contextmanager
def pinned(lpar: Lpar, block: int) -> Iterator[None]:
    """A page of the block is pinned meanwhile: the kernel tries without end to set it offline."""
    with beside(lpar, "pin.py", block, 128 << 20):
        yield


@pytest.mark.parametrize("nothing", ["", "--all-or-nothing"])
def test_a_time_limit_ends_an_offline_that_would_not_end(lpar: Lpar, nothing: str) -> None:
    before = prepare(lpar, ALL_ONLINE)
    with pinned(lpar, 17):
        report = checked(lpar, f"-d --timeout 2 {nothing} -b 16-18", before)
    assert report["status"] == (1 if nothing else 64)
    assert conditions(lpar)[17] == before[17]
    assert checked(lpar, "-d -b 16-18", conditions(lpar))["status"] == 0


@pytest.mark.parametrize("nothing", ["", "--all-or-nothing"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_the_report_says_what_was_done(
    lpar: Lpar, number: int, status: int, nothing: str
) -> None:
    before = prepare(lpar, ALL_ONLINE)
    with pinned(lpar, 17):
        result = interrupted(lpar, f"-d {nothing} -b 16-18", number)
        after = conditions(lpar)
    report = check(result, before, after)
    assert (report["outcome"], report["status"]) == ("interrupted", status)
    # The highest block goes first.
    assert (after[18] == before[18]) is bool(nothing)
    assert (after[16], after[17]) == (before[16], before[17])


def test_a_kill_leaves_the_block_at_work_online(lpar: Lpar) -> None:
    before = prepare(lpar, ALL_ONLINE)
    with pinned(lpar, 17):
        assert interrupted(lpar, "-d -b 16-18", signal.SIGKILL).status == 137
        after = conditions(lpar)
    assert not after[18].configured
    assert (after[16], after[17]) == (before[16], before[17])
    assert checked(lpar, "-d -b 16-18", after)["status"] == 0


def test_a_block_that_a_kill_left_half_done_is_brought_back_by_the_next_chmem(lpar: Lpar) -> None:
    before = prepare(lpar, ALL_ONLINE)
    words = "kill -STOP $$; exec chmem --reconfigure -m 0 -b 16-18"
    program = lpar.start(["sh", "-c", words])
    while "(stopped)" not in lpar.run(["cat", f"/proc/{program.pid}/status"]).stdout:
        time.sleep(0.05)
    with beside(lpar, "kill_when_gone.py", program.pid, f"{MEMORY}/memory17"):
        program.signal(signal.SIGCONT)
        assert program.finish().status == 137
    assert conditions(lpar)[17] == ("offline", None, False, True)
    result = lpar.run(["chmem", "-c", "-b", "19"])
    assert result.status == 0
    assert "memory block 17" in result.stderr.lower()
    after = conditions(lpar)
    assert after[16] == before[16]._replace(memmap_on_memory=False)
    assert (after[17], after[18]) == (before[17], before[18])


def interrupted(lpar: Lpar, options: str, number: int) -> Ended:
    """Run chmem --json, and send it a signal while the kernel tries to set block 17 offline."""
    program = lpar.start(["chmem", "--json", *options.split()])
    path = f"{MEMORY}/memory17/state"
    end = time.monotonic() + 120
    while call(lpar, "read", path=path) != "going-offline\n":
        assert time.monotonic() < end
        time.sleep(0.05)
    program.signal(number)
    return program.finish()


def test_plain_writes_and_chmem_meet_the_same_refusals(lpar: Lpar) -> None:
    """What chmem says failed is what the kernel says to the write itself."""
    lpar.element.refuse(StorageChange.ASSIGN, [20])
    assert call(lpar, "write", path=f"{FIRMWARE}/memory19/config", text="1\n") == "EIO"
    assert chmem(lpar, "-c -b 19").status == 1
