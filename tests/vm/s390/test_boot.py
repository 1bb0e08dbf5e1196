"""memsim boot as a person uses it; and what a guest that cannot work does."""

import re
import signal
import time
from pathlib import Path

import pexpect
import pytest

from commands import SCRIPTS, run_program, runs, start_program
from guest import fetch
from guest.arch import ARCHES
from guest.machine import GuestError
from guest.s390.lpar import Lpar
from guest.s390.servc import OPCODE, service_calls
from guest.s390.service_element import StorageChange
from guest.s390.states import restarted
from vm.agreement import conditions
from vm.lpar_machines import COVER_LETTER
from vm.lpars import COLUMNS


def test_a_command_runs_in_the_kernel_and_its_status_is_passed_on() -> None:
    listing = run_program("memsim", "boot", "--", "lsmem", "-n", "--summary=never", "-o", COLUMNS)
    assert listing.returncode == 0
    assert [line.split()[1:] for line in listing.stdout.splitlines()] == [
        ["2G", "online", "0-15", "yes", "no"],
        ["2G", "offline", "16-31", "no", "yes"],
    ]
    script = "cat; uname -m; echo oops >&2; exit 3"
    done = run_program("memsim", "boot", "--", "sh", "-c", script, input="in\n", stdin=None)
    assert (done.returncode, done.stdout, done.stderr) == (3, "in\ns390x\n", "oops\n")


def test_both_lsmems_and_both_chmems_are_in_the_path() -> None:
    script = "for tool in lsmem lsmem.ul chmem chmem.ul; do $tool --version; done"
    done = run_program("memsim", "boot", "--", "sh", "-c", script)
    assert [re.sub(r" [\d.]+$", "", line) for line in done.stdout.splitlines()] == [
        "lsmem from memory-hotplug-tools",
        "lsmem.ul from util-linux",
        "chmem from memory-hotplug-tools",
        "chmem.ul from util-linux",
    ]


def test_a_command_that_is_not_there_is_said_to_be_missing() -> None:
    done = run_program("memsim", "boot", "--", "nothing")
    assert (done.returncode, done.stderr) == (127, "nothing: command not found\n")


def test_a_signal_reaches_the_command() -> None:
    program = start_program("memsim", "boot", "--", "sh", "-c", "echo ready; sleep 1000")
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGINT)
    assert program.wait(120) == 128 + signal.SIGINT


def started() -> "pexpect.spawn[str]":
    """memsim boot on a terminal, after its greeting and with a prompt."""
    child = pexpect.spawn(
        str(SCRIPTS / "memsim"), ["boot"], timeout=120, encoding="utf-8", dimensions=(40, 100)
    )
    child.expect(r"This shell is on Linux [\w.+-]+ for s390x: 2G online, 2G standby\.\r\n")
    child.expect(r"[^\r\n]+ real, [^\r\n]+\r\nLeave with exit, Ctrl-D or Ctrl-\]\.\r\n")
    child.expect(r"s390:~# ")
    return child


def test_a_shell_in_the_kernel_has_a_terminal_and_ends_with_its_status() -> None:
    child = started()
    child.sendline("stty size; chmem -c -b 16 && grep . /sys/firmware/memory/memory16/*")
    child.expect("40 100\r\n")
    child.expect("config:1\r\n")
    child.expect("s390:~# ")
    # What says it is what the interrupt goes to; the shell between two commands would go on.
    child.sendline("sh -c 'echo beg\"\"un; exec sleep 1000'")
    child.expect("begun\r\n")
    child.sendintr()
    child.expect("s390:~# ")
    child.sendline("exit 5")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


def test_ctrl_and_bracket_leaves_whatever_runs() -> None:
    child = started()
    child.sendline("sleep 1000")
    child.sendcontrol("]")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_nothing_of_a_guest_is_left_when_memsim_is_killed() -> None:
    program = start_program("memsim", "boot", "--", "sh", "-c", "echo ready; sleep 1000")
    assert program.stdout is not None
    program.stdout.readline()
    (child,) = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    assert "qemu" in Path(f"/proc/{child}/comm").read_text()
    program.kill()
    program.wait()
    end = time.monotonic() + 30
    while runs(int(child)):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_kernel_without_service_calls_is_an_error_at_once(tmp_path: Path) -> None:
    """It would boot, and quietly have no standby memory."""
    fetched = fetch.kernel(ARCHES["s390x"], "sid")
    assert fetched is not None
    image = bytearray(fetched.image.read_bytes())
    for address in service_calls(bytes(image)):
        # Twice the same: no pattern, and nothing that is ever executed.
        image[address : address + len(OPCODE)] = b"\xb2\x21"
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(image)
    with pytest.raises(GuestError, match="no SERVC instruction"):
        Lpar(COVER_LETTER, kernel, None)


def test_a_guest_that_ends_by_itself_is_an_error_with_the_end_of_its_console(lpar: Lpar) -> None:
    with pytest.raises(GuestError, match="sysrq"):
        lpar.run("echo 8 > /proc/sysrq-trigger; echo c > /proc/sysrq-trigger")


def test_an_ipl_keeps_files_and_nothing_else(lpar: Lpar) -> None:
    """Memory is then as described, not as it was left."""
    at_boot = conditions(lpar)
    lpar.element.refuse(StorageChange.ASSIGN, [20])
    done = lpar.run(
        "echo kept > /etc/kept; echo gone > /root/gone; chmem -e -b 16 && chmem -d -b 5"
    )
    assert (done.status, done.stderr) == (0, "")
    with restarted(lpar) as again:
        assert conditions(again) == at_boot
        assert again.run("cat /etc/kept; ls /root").stdout == "kept\n"
        assert again.run("chmem -c -b 19").status == 0
