"""What auto_online_blocks is when the kernel starts."""

import gzip
import os
from pathlib import Path

import pytest

from memory_hotplug.layout.kernel_default import KernelDefault, default_on
from memory_hotplug.trees.files import FileTree
from memory_hotplug.trees.root_files import LONGEST
from static_tree import put

OLD_ON = "CONFIG_MEMORY_HOTPLUG=y\nCONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE=y\n"
OLD_OFF = "CONFIG_MEMORY_HOTPLUG=y\n# CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE is not set\n"
RELEASE = "6.1.0-9-amd64"


def found(root: Path) -> KernelDefault | None:
    with FileTree(str(root)) as tree:
        return default_on(tree)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("ro quiet", None),
        ("memhp_default_state=online_movable", "online_movable"),
        ("memhp-default-state=online", "online"),
        ("memhp_default_state=online memhp_default_state=offline", "offline"),
        ("memhp_default_state=online memhp_default_state=often", "online"),
        ("memhp_default_state= ro", None),
        ("xmemhp_default_state=online", None),
        ("ro -- memhp_default_state=online", None),
    ],
)
def test_the_last_valid_parameter_counts(line: str, word: str | None, tmp_path: Path) -> None:
    put(tmp_path, "proc/cmdline", f"{line}\n")
    assert found(tmp_path) == (KernelDefault(word, "/proc/cmdline") if word else None)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (OLD_ON, "online"),
        (OLD_OFF, "offline"),
        ("CONFIG_MHP_DEFAULT_ONLINE_TYPE_OFFLINE=y\n", "offline"),
        ("CONFIG_MHP_DEFAULT_ONLINE_TYPE_ONLINE_AUTO=y\n", "online"),
        (
            "# CONFIG_MHP_DEFAULT_ONLINE_TYPE_OFFLINE is not set\n"
            "CONFIG_MHP_DEFAULT_ONLINE_TYPE_ONLINE_KERNEL=y\n",
            "online_kernel",
        ),
        ("CONFIG_MHP_DEFAULT_ONLINE_TYPE_ONLINE_MOVABLE=y\n", "online_movable"),
        ("CONFIG_MEMORY_HOTPLUG=y\n", None),
        ("", None),
    ],
)
def test_without_the_parameter_the_configuration_counts(
    text: str, word: str | None, tmp_path: Path
) -> None:
    put(tmp_path, "proc/cmdline", "ro\n")
    put(tmp_path, "proc/sys/kernel/osrelease", f"{RELEASE}\n")
    for path in (f"usr/lib/modules/{RELEASE}/config", f"boot/config-{RELEASE}"):
        put(tmp_path, path, text)
        assert found(tmp_path) == (KernelDefault(word, f"/{path}") if word else None)
    put(tmp_path, "proc/config.gz", gzip.compress(text.encode()))
    assert found(tmp_path) == (KernelDefault(word, "/proc/config.gz") if word else None)


def test_the_parameter_counts_more_than_the_configuration(tmp_path: Path) -> None:
    put(tmp_path, "proc/config.gz", gzip.compress(OLD_ON.encode()))
    put(tmp_path, "proc/cmdline", "memhp_default_state=offline\n")
    assert found(tmp_path) == KernelDefault("offline", "/proc/cmdline")


def test_damaged_files_and_those_elsewhere_say_nothing(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "config"
    outside.write_text(OLD_ON)
    put(root, "proc/cmdline", b"\xff\xfe=\x00\n")
    put(root, "proc/sys/kernel/osrelease", "../../config\n")
    put(root, "proc/config.gz", gzip.compress(OLD_ON.encode())[:-20] + b"x" * 12)
    assert found(root) is None
    put(root, "proc/sys/kernel/osrelease", f"{RELEASE}\n")
    (root / "boot").mkdir()
    (root / f"boot/config-{RELEASE}").symlink_to(outside)
    os.mkfifo(root / "proc/config")
    assert found(root) is None


def test_a_configuration_is_unpacked_no_further_than_a_file_is_read(tmp_path: Path) -> None:
    put(tmp_path, "proc/config.gz", gzip.compress(b"\n" * LONGEST + OLD_ON.encode()))
    assert found(tmp_path) is None
