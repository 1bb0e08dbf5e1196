"""An LPAR on POWER: memory comes and goes by drmgr, and chmem says so."""

import json
from pathlib import Path

import pytest

from commands import Command
from memory_hotplug import Machine
from simulated import make
from told import said_in

SAID = (
    "chmem: drmgr, the management console or the kernel alone, on an event, give this LPAR memory"
    " and take it away; chmem only sets it online and offline\n"
)


@pytest.fixture
def lpar(tmp_path: Path) -> Path:
    tree = make(tmp_path / "lpar", "ppc64-large")
    (tree / "sys/kernel").mkdir()
    (tree / "sys/kernel/dlpar").write_text("")
    return tree


@pytest.mark.parametrize(
    ("words", "stdout"),
    [
        (("-c", "1g"), "Cannot configure. Use -e instead.\n"),
        (("-g", "1g"), "Cannot deconfigure. Use -d instead.\n"),
    ],
)
def test_configure_on_power_names_the_tools_of_the_hypervisor(
    words: tuple[str, ...], stdout: str, lpar: Path, chmem: Command
) -> None:
    before = tree_of(lpar)
    done = chmem("-s", lpar, *words)
    assert (done.status, done.stdout, done.stderr) == (1, stdout, SAID)
    assert tree_of(lpar) == before


def test_disable_on_power_says_that_the_memory_stays_with_the_lpar(
    lpar: Path, chmem: Command
) -> None:
    done = chmem("-s", lpar, "-d", "-b", "4095")
    assert (done.status, done.stdout, done.stderr) == (0, "", SAID)
    done = chmem("-s", lpar, "-e", "-b", "4095")
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    assert (lpar / "sys/kernel/dlpar").read_text() == ""
    done = chmem("-s", lpar, "-d", "-b", "4095", "--json")
    assert said_in(json.loads(done.stdout)) == [SAID.removeprefix("chmem: ").rstrip()]


@pytest.mark.parametrize("words", [("-d", "-b", "4095"), ("-c", "1g")])
def test_without_advice_nothing_is_said_of_drmgr(
    words: tuple[str, ...], lpar: Path, chmem: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHMEM_ADVICE", "never")
    assert chmem("-s", lpar, *words).stderr == ""


def test_drmgr_is_named_on_no_other_machine(tmp_path: Path) -> None:
    with Machine.at(make(tmp_path / "m", "ppc64-large")) as machine:
        assert not machine.has_dlpar


def tree_of(root: Path) -> dict[str, str]:
    """The states of the blocks."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.glob("sys/devices/system/memory/memory*/state")
    }
