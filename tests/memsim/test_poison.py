"""memsim poison: a page fails, and its block is not set online again."""

from pathlib import Path

import pytest

from commands import Command
from memsim.kernel.memory_failure import poison
from memsim.profile import boot
from memsim.sysfs import MEMORY, Sysfs
from simulated import make, s390, tree_at, x86

ADDRESS = (3 << 27) + 0x5678


def test_a_block_with_a_poisoned_page_goes_offline_and_not_online_again(
    memsim: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", x86())
    done = memsim("poison", root, hex(ADDRESS))
    assert (done.status, done.stdout) == (
        0,
        "memory block 3: the page at 0x0000000018005000 is poisoned\n",
    )
    state = f"{MEMORY}/memory3/state"
    assert (root / state).read_text() == "online\n"
    assert memsim("write", root, state, "offline").status == 0
    before = tree_at(root)
    for path, word in ((state, "online_movable"), (f"{MEMORY}/memory3/online", "1")):
        done = memsim("write", root, path, word)
        assert (done.status, done.stderr) == (
            1,
            f"memsim: {path}: Memory page has hardware error\n",
        )
    assert tree_at(root) == before
    assert "Poisoned page:          0x18005000, block 3\n" in memsim("show", root).stdout
    assert memsim("show", root, "--log").stdout == (
        "Memory failure: 0x18005: recovery action for free buddy page: Recovered\n"
    )
    # Other blocks do as ever, and a reboot forgets it.
    assert memsim("write", root, f"{MEMORY}/memory4/state", "online").status == 0
    assert memsim("reboot", root).status == 0
    assert memsim("write", root, state, "offline").status == 0
    assert memsim("write", root, state, "online").status == 0


@pytest.mark.parametrize(("release", "answer"), [("6.1.0", None), ("6.2.0", "hardware error")])
def test_linux_before_6_2_sets_such_a_block_online(release: str, answer: str | None) -> None:
    sysfs = Sysfs(boot(x86(release=release)))
    poison(sysfs.kernel, ADDRESS)
    sysfs.write(f"{MEMORY}/memory3/state", b"offline")
    if answer is None:
        sysfs.write(f"{MEMORY}/memory3/state", b"online")
        return
    with pytest.raises(OSError, match=answer):
        sysfs.write(f"{MEMORY}/memory3/state", b"online")


def test_a_block_that_is_configured_anew_has_no_poisoned_page() -> None:
    sysfs = Sysfs(boot(s390()))
    poison(sysfs.kernel, ADDRESS)
    for path, word in (
        ("sys/devices/system/memory/memory3/state", b"offline"),
        ("sys/firmware/memory/memory3/config", b"0"),
        ("sys/firmware/memory/memory3/config", b"1"),
        ("sys/devices/system/memory/memory3/state", b"online"),
    ):
        sysfs.write(path, word)
    assert sysfs.kernel.state.poisoned == ()


@pytest.mark.parametrize(
    ("addresses", "complaint"),
    [
        (["12"], "expected a physical address such as 0x7d000000, not 12"),
        (["0x20000000"], "the page at 0x20000000 is not poisoned: No such device or address"),
        (["0xfffffffff000"], "the page at 0xfffffffff000 is not poisoned: No such device or addr"),
        (["0x1", "0x2"], "the page at 0x2 is not poisoned: Memory page has hardware error"),
    ],
)
def test_what_cannot_fail_is_not_poisoned(
    addresses: list[str], complaint: str, memsim: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "m", x86())
    done = memsim("poison", root, *addresses)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"memsim: {complaint}")
    assert memsim("show", root, "--log").stdout == ""


def test_a_fault_can_have_the_name_ehwpoison(memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "m", x86())
    assert memsim("fault", root, "--online", "4=EHWPOISON").status == 0
    done = memsim("write", root, f"{MEMORY}/memory4/state", "online")
    assert "Memory page has hardware error" in done.stderr
