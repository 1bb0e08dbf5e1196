"""Sizes and ranges that are refused, or that may be meant otherwise; and the decimal separator."""

import os
import subprocess
from pathlib import Path

import pytest

from commands import Command, Machines, run_program
from hotplug_cli import sizes
from simulated import MIB, Make, conditions, make, s390, x86


def machine_of_256_mib(root: Path) -> Path:
    """11 blocks of 256 MiB online, 21 offline."""
    blocks = [{"range": [0, 10]}, {"range": [11, 31], "state": "offline"}]
    return make(root / "machine", {"block_size": 256 * MIB, "blocks": blocks})


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ("1.2g", "the nearest sizes are 1024M and 1280M"),
        ("3.8g", "the nearest sizes are 3840M and 4096M"),
        ("1537m", "the nearest sizes are 1536M and 1792M"),
        ("1000", "the nearest sizes are 768M and 1024M"),
        ("100m", "the nearest size is 256M"),
        ("1", "the nearest size is 256M"),
        ("17592186044415m", "the nearest size is 17592186044160M"),
        ("0x10000001-0x10000001", "the nearest range is 0x10000000-0x1fffffff"),
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


@pytest.mark.parametrize("text", ["512m", "1024m", "1g"])
def test_a_number_that_the_machine_could_have_is_not_questioned(
    text: str, chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", x86()), "-e", text)
    assert "without a unit" not in done.stderr


# What a refused argument may be meant as

GIVE = (
    "give a SIZE as in 4g, a RANGE as in 0x80000000-0x87ffffff, or --blocks and numbers as in 16-31"
)
BLOCKS_HERE = "this machine has memory blocks 0-23, 32-135; give one number or range"


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("-e 8gb", "8gb is 8000000000 bytes, in powers of 1000; 8g is 8 GiB"),
        ("-e 1.5TB", "1.5TB is 1500000000000 bytes, in powers of 1000; 1.5T is 1.5 TiB"),
        ("-e 1,5g", "in this locale the decimal separator is '.': 1.5g"),
        ("-e 1.5", "a size with a fraction needs a unit, as in 1.5g"),
        ("-e 1g,2g", "give one SIZE, RANGE or BLOCKRANGE at a time, not a list"),
        ("-e 80000000-87ffffff", "addresses begin with 0x: 0x80000000-0x87ffffff"),
        ("-e 0x80000000-87ffffff", "addresses begin with 0x: 0x80000000-0x87ffffff"),
        ("-e 3-5", "for memory blocks 3-5 give --blocks"),
        (
            "-e 80000000-90000000",
            "for memory blocks 80000000-90000000 give --blocks; addresses begin with 0x: "
            "0x80000000-0x90000000",
        ),
        ("-e 3", "for memory block 3 give --blocks; for a size give a unit, as in 16g"),
        ("-e 0x90000000-0x88000000", "the end is below the start"),
        ("-e 0x90000000-0x90000000", "the nearest range is 0x90000000-0x97ffffff"),
        ("-e 0x0-", "a range has a start and an end"),
        ("-e 5..7", "a range is written with a dash: 5-7"),
        ("-e memory5", "a memory block is named by its number: chmem --enable --blocks 5"),
        (
            "-d /sys/devices/system/memory/memory5",
            "a memory block is named by its number: chmem --disable --blocks 5",
        ),
        ("-e big.toml", "for a memory layout: chmem --apply big.toml"),
        ("-e foo", GIVE),
        ("-e 8q", GIVE),
        # A part of the memory
        ("-e all", "all of the offline memory is 1G: chmem --enable 1G"),
        ("-e 50%", "50% of the offline memory is 512M: chmem --enable 512M"),
        ("-e 200%", "200% of the offline memory is 1G: chmem --enable 1G"),
        ("-e 1%", GIVE),
        ("--total 0-5", "--total takes one SIZE, as in 16g"),
        ("--total x", "--total takes one SIZE, as in 16g"),
        ("--total 0x0-0x7ffffff", "--enable and --disable take ranges"),
        ("--total +1g", "so much more: chmem --enable 1g"),
        ("--total \u22121g", "so much less: chmem --disable 1g"),
        ("--total ++1g", "so much more: chmem --enable 1g"),
        ("--total +-1g", "--total takes one SIZE, as in 16g"),
        ("--total 50%", "50% of the whole memory is 8G: chmem --total 8G"),
        ("-d 10%", "10% of the online memory is 1.5G: chmem --disable 1.5G"),
        (
            "-d 100%",
            "100% of the online memory is 15G, of which 12928M can be set offline now: "
            "chmem --disable 12928M",
        ),
        (
            "-d all",
            "all of the online memory is 15G, of which 12928M can be set offline now: "
            "chmem --disable 12928M",
        ),
        (
            "-d all --keep-free 12g",
            "all of the online memory is 15G, of which 768M can be set offline now: "
            "chmem --disable --keep-free 12g 768M",
        ),
        (
            "-d 50% --keep-free 15g",
            "50% of the online memory is 7.5G, of which nothing can be set offline now",
        ),
        (
            "-d all -z Movable",
            "all of the online memory is 1G: chmem --disable --zone Movable 1G",
        ),
        ("-d 50% --node 1", "50% of the online memory is 3.5G: chmem --disable --node 1 3.5G"),
        # Blocks
        ("-b -e 0x10", "block numbers are decimal: 0x10 is 16"),
        ("-b -e 0x10-0x1f", "block numbers are decimal: 0x10-0x1f is 16-31"),
        (
            "-b -e 0x80000000-0x87ffffff",
            "addresses go without --blocks: chmem --enable 0x80000000-0x87ffffff",
        ),
        (
            "-b -e 0x8000000-0xfffffff",
            "addresses go without --blocks: chmem --enable 0x8000000-0xfffffff",
        ),
        ("-b -d 1g", "a size goes without --blocks: chmem --disable 1g"),
        ("-b -d all", BLOCKS_HERE),
        ("-b -d 5-", BLOCKS_HERE),
        ("-b -d 7-5", "the start comes first: 5-7"),
        ("-b -d 5:7", "a range is written with a dash: 5-7"),
        ("-b -d 5\u20137", "a range is written with a dash: 5-7"),
        ("-b -d 1,2", "give one SIZE, RANGE or BLOCKRANGE at a time, not a list"),
        (
            "-b -d memory5",
            "a memory block is named by its number: chmem --disable --blocks 5",
        ),
        ("-b -e foo", "--blocks takes a number such as 16, or a range such as 16-31"),
    ],
)
def test_what_a_refused_argument_may_be_meant_as_is_told(
    words: str, instead: str, chmem: Command, profiles: Machines
) -> None:
    root = profiles("x86-two-nodes")
    done = chmem("-s", root, *words.split())
    assert (done.status, done.stdout) == (1, "")
    said = done.stderr.splitlines()[-1]
    assert said.removesuffix(f" --sysroot {root}") == f"chmem: {instead}"
    bare = chmem("-s", root, *words.split(), "--advice=never")
    assert "\n" not in bare.stderr.removesuffix("\n"), "util-linux has one line"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("-d all", "all of the online memory is 512M: chmem --disable 512M"),
        ("-g all", "all of the offline memory is 256M: chmem --deconfigure 256M"),
        ("-c 50%", "50% of the deconfigured memory is 256M: chmem --configure 256M"),
        ("--total all", "all of the whole memory is 1280M: chmem --total 1280M"),
    ],
)
def test_a_share_is_told_where_nobody_tells_how_much_is_in_use(
    words: str, told: str, chmem: Command, tmp_path: Path
) -> None:
    blocks = [
        {"range": [0, 3]},
        {"range": [4, 5], "state": "offline"},
        {"range": [6, 9], "config": 0},
    ]
    root = make(tmp_path / "machine", {**s390(), "blocks": blocks})
    assert f"chmem: {told} --sysroot {root}\n" in chmem("-s", root, *words.split()).stderr


def test_a_command_that_is_told_instead_can_be_typed(chmem: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", "x86-two-nodes")
    for words in ("-e all", "-d 100%", "-d 50% --node 1", "-b -d 1g", "-b -e memory5"):
        said = chmem("-s", root, *words.split()).stderr.splitlines()[-1]
        command = said.partition(": chmem ")[2] or said.rpartition(": chmem ")[2]
        assert chmem(*command.split(), "--dry-run").status == 0, said


def test_a_unit_apart_from_its_number_is_told(chmem: Command, profiles: Machines) -> None:
    done = chmem("-s", profiles("x86-two-nodes"), "-e", "8 g")
    assert done.stderr.splitlines()[-1] == "chmem: no space stands before the unit: 8g"


def test_a_total_with_a_minus_is_so_much_less(chmem: Command, profiles: Machines) -> None:
    done = chmem("-s", profiles("x86-two-nodes"), "--total", "--", "-1g")
    assert "chmem: so much less: chmem --disable 1g --sysroot " in done.stderr


def test_all_of_a_device_needs_no_size(chmem: Command, memsim: Command, tmp_path: Path) -> None:
    root = make(tmp_path / "machine", "x86-dimm-slots")
    assert memsim("plug", root, "--memory", "1G", "--as", "virtio-mem").status == 0
    done = chmem("-s", root, "--device", "virtio0", "-e", "all")
    assert done.stderr.splitlines()[-1] == (
        "chmem: --device virtio0 without SIZE takes all memory of the device"
    )
    assert "as in 4g" in chmem("-s", root, "--device", "virtio0", "-e", "50%").stderr


# A number without a unit


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "-e 128",
            "128 without a unit is 128 MiB: 128M enabled, memory block 4; "
            "for memory block 128 give --blocks",
        ),
        (
            "-e 256",
            "256 without a unit is 256 MiB: 256M enabled, memory blocks 4-5; "
            "for memory block 256 give --blocks",
        ),
        (
            "-d 384",
            "384 without a unit is 384 MiB: 384M disabled, memory blocks 1-3; "
            "for memory block 384 give --blocks",
        ),
    ],
)
def test_after_a_number_without_a_unit_it_is_told_what_was_done(
    words: str, told: str, chmem: Command, tmp_path: Path
) -> None:
    root = make(tmp_path / "machine", x86())
    done = chmem("-s", root, "--timeout=9", *words.split())
    assert (done.status, done.stdout, done.stderr) == (0, "", f"chmem: {told}\n")


@pytest.mark.parametrize("more", ["--advice=never", "--dry-run", "--json"])
def test_without_advice_and_for_programs_it_is_not_told(
    more: str, chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", x86()), "-e", "128", more)
    assert (done.status, done.stderr) == (0, "")
    assert "without a unit" not in done.stdout


@pytest.mark.parametrize("words", ["-e 128m", "-b -e 4", "-e 0x80", "-e 0", "--total 640"])
def test_what_can_be_no_block_number_is_not_told(
    words: str, chmem: Command, tmp_path: Path
) -> None:
    done = chmem("-s", make(tmp_path / "machine", x86()), *words.split())
    assert "without a unit" not in done.stderr


def test_the_block_with_that_very_number_is_not_offered(chmem: Command, tmp_path: Path) -> None:
    done = chmem("-s", make(tmp_path / "machine", "x86-two-nodes"), "-e", "128")
    assert done.stderr == ("chmem: 128 without a unit is 128 MiB: 128M enabled, memory block 128\n")


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
        "chmem: in this locale the decimal separator is ',': 0,5g\n"
    )


@pytest.mark.needs("locales")
def test_with_a_decimal_comma_a_comma_is_no_list(german: dict[str, str], tmp_path: Path) -> None:
    root = make(tmp_path / "machine", s390())
    done = run_program("chmem", "-s", root, "-e", "0,5", "--advice=always", env=german)
    assert done.stderr == (
        "chmem: Failed to parse size: '0,5': Invalid argument\n"
        "chmem: a size with a fraction needs a unit, as in 0,5g\n"
    )


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


def test_a_plus_sign_is_a_size_to_enable_as_for_util_linux_and_refused_elsewhere(
    chmem: Command, memsim: Command, tmp_path: Path
) -> None:
    root = tmp_path / "m"
    memsim("create", root, "--profile", "s390-lpar")
    assert chmem("-s", root, "-e", "+512m").status == 0
    layout = tmp_path / "l.toml"
    layout.write_text('version = 1\n[[memory]]\nsize = "+1G"\n')
    for words in (
        ["--total", "+1g"],
        ["-d", "512m", "--keep-free", "+1g"],
        ["--apply", str(layout)],
    ):
        done = chmem("-s", root, *words)
        assert (done.status, done.stdout) == (1, ""), words
        assert "+1" in done.stderr


@pytest.mark.parametrize("size", ["0", "0m"])
def test_a_size_of_nothing_is_told(size: str, chmem: Command, machine: Make) -> None:
    done = chmem("-s", machine(x86()), "-e", size, "--advice=always")
    assert (done.status, done.stderr) == (0, "chmem: nothing to do: a size of 0 was requested\n")


def test_a_block_that_failed_is_told_though_another_one_made_up_the_size(
    chmem: Command, machine: Make
) -> None:
    tree = machine(x86(faults={"online": {"4": "EIO"}}))
    done = chmem("-s", tree, "-e", "128m", "--advice=always")
    assert done.status == 0
    assert conditions(tree)[5].state == "online"
    assert done.stderr.startswith("chmem: memory block 4: Input/output error;")
