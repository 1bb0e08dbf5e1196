"""What lsmem says besides the words of util-linux, and when: advice, and causes it looked for."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from commands import SCRIPTS, Command
from hotplug_cli.tree_errors import built_with_memory_hotplug
from lsmem_py.columns import COLUMNS
from terminal import Terminal, clean_environment

HEADINGS = ", ".join(column.heading for column in COLUMNS)
TRY = "Try 'lsmem --help' for more information."
USAGE = [
    (
        ["--summary", "only"],
        ["bad usage", TRY],
        "--summary takes its argument after a =: --summary=only",
    ),
    (["--map", "zones"], ["bad usage", TRY], "--map takes its argument after a =: --map=zones"),
    (["extra"], ["bad usage", TRY], "lsmem takes options only, and no extra"),
    (
        ["--summary=onli"],
        ["unsupported --summary argument"],
        "--summary takes never, always or only, after a =",
    ),
    (["-o", "FOO"], ["unknown column: FOO"], f"the columns are {HEADINGS}"),
    (
        ["-r", "--summary"],
        ["options --{raw,json,pairs} and --summary=only are mutually exclusive"],
        "--summary=always adds the summary to any format",
    ),
    (
        ["-s", "only"],
        ["cannot open only: No such file or directory"],
        "-s is --sysroot; the summary is --summary=only",
    ),
]


def named(lines: list[str]) -> list[str]:
    """The lines with the name of the program, which the hint at --help has not."""
    return [line if line == TRY else f"lsmem: {line}" for line in lines]


@pytest.mark.parametrize(("arguments", "said", "advice"), USAGE)
def test_usage_errors_have_advice_only_where_it_is_wanted(
    arguments: list[str],
    said: list[str],
    advice: str,
    lsmem: Command,
    monkeypatch: pytest.MonkeyPatch,
    tree: Path,
) -> None:
    # The tree is the machine, where the arguments name none.
    machine = [] if "-s" in arguments else ["-s", str(tree)]
    plain = lsmem(*machine, *arguments)
    assert (plain.status, plain.stderr.splitlines()) == (1, named(said))
    for more in ("--advice=never", "--advice=auto"):
        assert lsmem(*machine, more, *arguments).stderr == plain.stderr
    advised = lsmem(*machine, "--advice=always", *arguments)
    assert advised.stderr.splitlines() == named([*said, advice])
    monkeypatch.setenv("LSMEM_ADVICE", "always")
    assert lsmem(*machine, *arguments).stderr == advised.stderr
    assert lsmem(*machine, "--advice=never", *arguments).stderr == plain.stderr


def test_advice_is_shown_on_a_terminal() -> None:
    terminal = Terminal("lsmem", "--summary", "only", columns=100)
    assert terminal.finish() == 1
    assert terminal.text() == named(
        ["bad usage", TRY, "--summary takes its argument after a =: --summary=only"]
    )


# Why this machine shows no memory


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("CONFIG_SMP=y\nCONFIG_MEMORY_HOTPLUG=y\n", True),
        ("CONFIG_SMP=y\n# CONFIG_MEMORY_HOTPLUG is not set\n", False),
        ("CONFIG_SMP=y\nCONFIG_ARCH_ENABLE_MEMORY_HOTPLUG=y\n", False),
        ("", None),
        ("root:x:0:0\n", None),
    ],
)
def test_a_kernel_configuration_says_whether_memory_hotplug_is_built_in(
    text: str, built: bool | None, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "config", tmp_path / "config.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    assert built_with_memory_hotplug(str(plain)) is built
    assert built_with_memory_hotplug(str(packed)) is built
    packed.write_bytes(packed.read_bytes()[:-9])
    assert built_with_memory_hotplug(str(packed)) in (built, None)
    packed.write_bytes(b"\x1f\x8bgarbage")
    assert built_with_memory_hotplug(str(packed)) is None
    assert built_with_memory_hotplug(str(tmp_path / "none")) is None


HIDE = {"/sys": "/sys is not mounted", "/sys/devices/system": "a container hides the directory"}


@pytest.mark.needs("root")
@pytest.mark.parametrize("hidden", HIDE)
@pytest.mark.parametrize("config", ["=y", " is not set", None])
def test_a_machine_without_memory_directory_has_the_cause_that_its_kernel_tells(
    config: str | None, hidden: str, tmp_path: Path
) -> None:
    """In a mount namespace of its own, from which nothing gets out."""
    written = tmp_path / "config"
    if config == "=y":
        written.write_text("CONFIG_MEMORY_HOTPLUG=y\n")
    elif config:
        written.write_text("# CONFIG_MEMORY_HOTPLUG is not set\n")
    file = f"/boot/config-{os.uname().release}"
    place = f"cp {written} {file}" if config else "true"
    script = f"""
        set -e
        mount -t tmpfs none /boot
        {place}
        test ! -e /proc/config.gz || mount --bind /dev/null /proc/config.gz
        test ! -e /lib/modules || mount -t tmpfs none /lib/modules
        mount -t tmpfs none {hidden}
        exec {SCRIPTS}/lsmem --advice=always
    """
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, env=clean_environment())
    said, advice = done.stderr.splitlines()
    assert done.returncode == 1
    assert said == "lsmem: cannot open /sys/devices/system/memory: No such file or directory"
    if config is None:
        assert advice == (
            "lsmem: the kernel is built without CONFIG_MEMORY_HOTPLUG, /sys is not mounted,"
            " or a container hides the directory"
        )
    elif config == "=y":
        assert HIDE[hidden] in advice
        assert "without" not in advice
    else:
        assert advice == f"lsmem: {file} says that this kernel is built without" + (
            " CONFIG_MEMORY_HOTPLUG"
        )
