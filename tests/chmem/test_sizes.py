"""Sizes and ranges that are refused, or that may be meant otherwise; and the decimal separator."""

import os
import subprocess
from pathlib import Path

import pytest

from commands import Command, run_program
from hotplug_cli import sizes
from simulated import MIB, conditions, make, s390, x86


def machine_of_256_mib(root: Path) -> Path:
    """11 blocks of 256 MiB online, 21 offline."""
    blocks = [{"range": [0, 10]}, {"range": [11, 31], "state": "offline"}]
    return make(root / "machine", {"block_size": 256 * MIB, "blocks": blocks})


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ("1.2g", "the nearest sizes are 1G and 1280M"),
        ("1000", "the nearest sizes are 768M and 1G"),
        ("100m", "the nearest size is 256M"),
        ("1", "the nearest size is 256M"),
        ("0xb0000000-0xb7ffffff", "the nearest range is 0xb0000000-0xbfffffff"),
        ("0xb0000001-0xcfffffff", "the nearest ranges are 0xc0000000-0xcfffffff and 0xb0000000-"),
        ("0xb0000000-0xc0000000", "the nearest ranges are 0xb0000000-0xbfffffff and 0xb0000000-"),
    ],
)
def test_a_size_or_a_range_that_is_refused_comes_with_the_nearest_ones(
    size: str, nearest: str, chmem: Command, tmp_path: Path
) -> None:
    root = machine_of_256_mib(tmp_path)
    done = chmem("-s", root, "-e", size)
    assert (done.status, done.stdout) == (1, "")
    assert f"\nchmem: {nearest}" in done.stderr


def test_what_is_named_as_nearest_is_taken(chmem: Command, tmp_path: Path) -> None:
    root = machine_of_256_mib(tmp_path)
    said = chmem("-s", root, "-e", "1.2g").stderr.splitlines()[-1]
    below, above = said.partition(" are ")[2].split(" and ")
    for size in (below, above):
        assert chmem("-s", root, "--dry-run", "-e", size).status == 0


def test_a_total_can_be_typed_back(chmem: Command, tmp_path: Path) -> None:
    root = machine_of_256_mib(tmp_path)
    comment = chmem("-s", root, "--dry-run", "-e", "1280").stdout.splitlines()[-1]
    assert comment.startswith("# 1280M would be enabled")
    done = chmem("-s", root, "-d", "2.75g", "--dry-run")
    assert done.stdout.splitlines()[-1].startswith("# 2816M would be disabled")
    refused = chmem("-s", root, "--all-or-nothing", "-e", "1t")
    assert "1T requested, but only 5376M can be enabled" in refused.stderr


def test_a_total_of_util_linux_that_is_rounded_is_followed_by_the_exact_one(
    chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", x86(4, 10)), "-e", "1t")
    assert done.stderr == "chmem: Could only enable 1.3G of memory\nchmem: that is 1280M\n"


@pytest.mark.parametrize("bits", range(28, 45))
@pytest.mark.parametrize("blocks", [1, 3, 5, 8, 10, 1023, 1025])
def test_an_exact_size_is_read_as_it_was(bits: int, blocks: int) -> None:
    assert sizes.parse(sizes.exact(blocks << bits)) == blocks << bits


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (
            "268435456",
            "268435456 without a unit is 268435456 MiB, and this machine has 1G; "
            "for 268435456 bytes give 256M",
        ),
        (
            "4096",
            "4096 without a unit is 4096 MiB, and this machine has 1G; "
            "a unit follows the number, as in 16g",
        ),
        (
            "1099511627776",
            "1099511627776 without a unit is 1099511627776 MiB, and this machine has 1G; "
            "a unit follows the number, as in 16g",
        ),
        ("0x8000000", "0x8000000 is taken for a size, 128T: a range has two ends"),
    ],
)
def test_a_number_that_is_more_than_the_machine_has_is_answered_before_the_work(
    text: str, answer: str, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", x86())
    done = chmem("-s", root, "-e", text)
    assert done.status == 64
    assert done.stderr.splitlines()[0] == f"chmem: {answer}"


@pytest.mark.parametrize("text", ["512", "1024", "1g"])
def test_a_number_that_the_machine_could_have_is_not_questioned(
    text: str, chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", x86()), "-e", text)
    assert "without a unit" not in done.stderr


# The decimal separator


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a locale with a decimal comma, made for the test."""
    folder = tmp_path_factory.mktemp("locales")
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", folder / "de_DE.UTF-8"], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    wanted = {"LOCPATH": str(folder), "LANG": "C", "LC_NUMERIC": "de_DE.UTF-8"}
    return {**kept, **wanted, "CHMEM_ADVICE": "always"}


@pytest.mark.needs("locales")
def test_with_a_decimal_comma_sizes_are_read_and_written_with_it(
    german: dict[str, str], tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", x86(4, 10))
    done = run_program("chmem", "-s", root, "-e", "1,25g", env=german)
    assert (done.returncode, done.stderr) == (0, "")
    assert conditions(root)[13].state == "online"
    done = run_program("chmem", "-s", root, "-d", "1t", env={**german, "CHMEM_ADVICE": "never"})
    assert done.stderr == "chmem: Could only disable 1,8G of memory\n"


@pytest.mark.needs("locales")
def test_with_a_decimal_comma_a_point_is_refused_as_by_util_linux(
    german: dict[str, str], tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", s390())
    done = run_program("chmem", "-s", root, "-e", "0.5g", env=german)
    assert done.returncode == 1
    assert done.stderr == (
        "chmem: Failed to parse size: '0.5g': Invalid argument\n"
        "chmem: in this locale the decimal separator is ,\n"
    )


@pytest.mark.needs("locales")
def test_with_a_decimal_comma_a_comma_is_no_list(german: dict[str, str], tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    done = run_program("chmem", "-s", root, "-e", "0,5", "--advice=always", env=german)
    assert done.stderr == "chmem: Failed to parse size: '0,5': Invalid argument\n"


@pytest.mark.needs("locales")
@pytest.mark.parametrize("variable", ["LC_ALL", "LC_NUMERIC", "LANG"])
def test_the_locale_is_that_of_setlocale(
    variable: str, german: dict[str, str], tmp_path: Path
) -> None:
    kept = {name: text for name, text in german.items() if name not in ("LANG", "LC_NUMERIC")}
    root = make(tmp_path / "machine", x86(12, 0))
    words = ("lsmem", "-s", root, "-n", "-oSIZE", "--summary=never")
    done = run_program(*words, env={**kept, variable: "de_DE.UTF-8"})
    assert done.stdout.strip() == "1,5G"
    done = run_program(*words, env={**kept, variable: "no_SUCH"})
    assert done.stdout.strip() == "1.5G"
